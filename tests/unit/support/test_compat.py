"""What differs between Airflow's versions, as far as nothing else shows it."""

from airflow.providers.common.compat.sdk import redact

from airflow_provider_digitalhuman.support.compat import mask_secret


def test_a_masked_secret_is_starred_out() -> None:
    secret = "Signature=a-signature-that-nobody-shall-see"
    assert secret in str(redact(f"GET /video?{secret}"))
    mask_secret(secret)
    assert secret not in str(redact(f"GET /video?{secret}"))
