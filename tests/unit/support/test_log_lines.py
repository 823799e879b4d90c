"""What a task's log shows of a long message."""

import unicodedata

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    RequestChangedError,
    SubmissionUnknownError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.support.log_lines import COLUMNS, short_lines
from airflow_provider_digitalhuman.support.retries import airflow_retries

REFUSED = (
    'The API did not accept the video: HTTP 200, body: {"code": "204", "msg": "登录验证失败"} (in English: login check'
    " failed: the API key is not accepted). It refused the key: check the API key of the connection."
)


def columns(line: str) -> int:
    return len(line) + sum(unicodedata.east_asian_width(one) == "W" for one in line)


def test_short_lines_keep_every_word_and_count_two_columns_for_a_chinese_character() -> None:
    for text in (REFUSED, "视频任务失败 " * 40):
        lines = list(short_lines(text, "    "))
        assert max(map(columns, lines)) <= COLUMNS
        assert all(line.startswith("    ") for line in lines)
        assert " ".join(line.strip() for line in lines) == text.strip()


def test_word_longer_than_a_line_stays_whole() -> None:
    url = "https://h.example.com/" + "a" * COLUMNS
    assert list(short_lines(f"from {url} it came")) == ["from", url, "it came"]


def test_line_breaks_stay_and_empty_lines_go() -> None:
    assert list(short_lines("first\n\n  second line\n")) == ["first", "second line"]
    assert list(short_lines("")) == []


@pytest.mark.parametrize(
    ("error_class", "raised"), [(AuthenticationError, AirflowFailException), (WaitTimeoutError, WaitTimeoutError)]
)
def test_message_is_logged_in_short_lines_before_it_is_raised(
    error_class: type[Exception], raised: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(raised), airflow_retries():
        raise error_class(REFUSED)
    assert caplog.messages == list(short_lines(REFUSED))
    assert {record.levelname for record in caplog.records} == {"ERROR"}


@pytest.mark.parametrize("error_class", [SubmissionUnknownError, RequestChangedError])
def test_error_that_the_log_explains_already_is_not_logged_again(
    error_class: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(error_class), airflow_retries():
        raise error_class("What to do is in the log lines above this error.")
    assert caplog.messages == []
