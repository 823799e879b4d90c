"""The tables of what an answer means, held to the contract's rows in numbers that stand here, not in the tables."""

import pytest

from airflow_provider_digitalhuman.api import meanings
from airflow_provider_digitalhuman.api.meanings import (
    OnCreate,
    OnQuery,
    code_on_create,
    code_on_query,
    http_on_create,
    http_on_query,
)

PROOF_THAT_NOTHING_WAS_ACCEPTED = {301, 307, 308, 400, 401, 402, 403, 404, 405, 413, 415, 422, 429}


@pytest.mark.parametrize("status", [0, *range(100, 600), 999])
def test_http_status_on_create_is_unknown_unless_it_is_proof(status: int) -> None:
    meaning = http_on_create(status)
    if 200 <= status < 300:
        assert meaning is OnCreate.BY_BODY
    else:
        assert (meaning is not OnCreate.UNKNOWN) is (status in PROOF_THAT_NOTHING_WAS_ACCEPTED)
    assert (meaning is OnCreate.RATE_LIMIT) is (status == 429), "only a 429 is sent again"


@pytest.mark.parametrize("status", [0, *range(100, 600), 999])
def test_http_status_on_query(status: int) -> None:
    expected = {401: OnQuery.KEY_REFUSED, 403: OnQuery.KEY_REFUSED, 404: OnQuery.NOT_FOUND, 410: OnQuery.NOT_FOUND}
    expected |= {429: OnQuery.RATE_LIMIT} | dict.fromkeys(range(200, 300), OnQuery.BY_BODY)
    assert http_on_query(status) is expected.get(status, OnQuery.ASK_AGAIN)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((401, OnCreate.KEY_REFUSED), (403, OnCreate.KEY_REFUSED), (402, OnCreate.NO_BALANCE)),
        *((404, OnCreate.NO_SUCH_PATH), (308, OnCreate.REDIRECT), (422, OnCreate.REFUSED)),
    ],
)
def test_http_status_on_create(status: int, meaning: OnCreate) -> None:
    assert http_on_create(status) is meaning


@pytest.mark.parametrize(
    ("code", "on_create", "on_query"),
    [
        (None, OnCreate.UNKNOWN, OnQuery.ASK_AGAIN),
        *((code, OnCreate.KEY_REFUSED, OnQuery.KEY_REFUSED) for code in ("204", "401", "403", "AuthenticationError")),
        ("402", OnCreate.NO_BALANCE, OnQuery.ASK_AGAIN),
        ("429", OnCreate.RATE_LIMIT, OnQuery.RATE_LIMIT),
        *((code, OnCreate.REFUSED, OnQuery.NOT_FOUND) for code in ("-1", "404")),
        *((code, OnCreate.REFUSED, OnQuery.ASK_AGAIN) for code in ("1001", "500", "-2", "InvalidParameter", "***")),
    ],
)
def test_code(code: str | None, on_create: OnCreate, on_query: OnQuery) -> None:
    assert code_on_create(code) is on_create
    assert code_on_query(code) is on_query


def test_every_answer_that_people_see_has_a_row() -> None:
    seen = {401, 402, 403, 404, 410, 429, 500, 502, 503, 504, "2xx"}
    assert seen <= meanings.HTTP_ON_QUERY.keys()
    assert seen | PROOF_THAT_NOTHING_WAS_ACCEPTED | {302, 303, 408, 409} <= meanings.HTTP_ON_CREATE.keys()


def test_codes_that_the_reading_depends_on() -> None:
    assert {"", "0", "200"} == meanings.NO_ERROR
    assert {"", "0", "200", "204", "402", "-1", "AuthenticationError"} < meanings.KNOWN_CODES


def test_row_of_create_touches_no_query(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [http_on_query(status) for status in range(600)]
    monkeypatch.setattr(meanings, "HTTP_ON_CREATE", {**meanings.HTTP_ON_CREATE, 503: OnCreate.REFUSED})
    assert http_on_create(503) is OnCreate.REFUSED
    assert [http_on_query(status) for status in range(600)] == before
