"""What differs between Airflow's versions, as far as nothing else shows it."""

from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import redact

from airflow_provider_digitalhuman.support import compat
from airflow_provider_digitalhuman.support.compat import mask_secret


def test_a_masked_secret_is_starred_out() -> None:
    secret = "Signature=a-signature-that-nobody-shall-see"
    assert secret in str(redact(f"GET /video?{secret}"))
    mask_secret(secret)
    assert secret not in str(redact(f"GET /video?{secret}"))


@pytest.mark.parametrize(
    ("running", "job_id", "is_current"),
    [
        (2, "7", True),
        (3, "7", False),  # a later try runs: this one was given up
        (None, "7", False),  # cleared, or queued anew
        (None, None, True),  # dag.test() and `airflow tasks test`: no job, and no state written
        (3, None, False),  # a real try of the same task instance runs beside the test
    ],
)
def test_current_try_of_airflow_2(
    monkeypatch: pytest.MonkeyPatch, running: int | None, job_id: str | None, is_current: bool
) -> None:
    monkeypatch.setattr(compat, "AIRFLOW", (2, 11))
    monkeypatch.setattr(compat, "_running_try_2", lambda _: running)
    ti = SimpleNamespace(try_number=2, job_id=job_id)
    assert compat.is_current_try(ti) is is_current
    assert compat.has_succeeded(ti) is is_current
