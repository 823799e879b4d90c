"""What a POST came to, whatever ended it: the one decision on which the next payment depends.

Before the first byte, anything that is raised means "not sent". After it, only an answer that was read as a refusal
proves that nothing was accepted.
"""

from typing import Final

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.reader import read_create, unknown_with_ids
from airflow_provider_digitalhuman.api.redact import excerpt, masked_for_people
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection.monitor import RequestMonitor, TransportError
from airflow_provider_digitalhuman.exceptions import (
    NOT_KNOWN,
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    RateLimitError,
    RequestRefusedError,
    ServiceUnreachableError,
    SubmissionUnknownError,
)

_READ_FROM_AN_ANSWER: Final = (
    AuthenticationError,
    InsufficientBalanceError,
    RateLimitError,
    RequestRefusedError,
    SubmissionUnknownError,
)


def outcome_of(error: BaseException, monitor: RequestMonitor, request: VideoRequest) -> VideoTask | DigitalHumanError:
    """Return what is known of a POST that ended with ``error``.

    :returns: the accepted task; or ``error`` itself where it says what became of the POST; or such an error.
    """
    if not monitor.request_left:
        if isinstance(error, DigitalHumanError):
            return error
        return ServiceUnreachableError(f"Nothing was sent: {_shown(error, monitor)}.")
    if isinstance(error, _READ_FROM_AN_ANSWER):
        return error
    # A time-out of Airflow's can come out of nowhere when the answer is there, and has yet to be read.
    if monitor.answer is not None and not isinstance(error, Exception):
        try:
            return read_create(monitor.answer, request.video_url)
        except _READ_FROM_AN_ANSWER as read:
            return read
        except BaseException as read:  # a fault of the reader's, or a second interruption: neither proves anything
            return _unknown(read, monitor)
    return _unknown(error, monitor)


def not_answered(error: TransportError, base_url: str) -> ServiceUnreachableError | SubmissionUnknownError:
    """Return what is known of a POST to which no whole answer came."""
    if not error.request_left:
        return ServiceUnreachableError(
            f"The API at {base_url} could not be reached, nothing was sent: {error}. {error.cure}"
        )
    said = f"{NOT_KNOWN}: the request left, and no whole answer came ({error})."
    return unknown_with_ids(said + _came(error.partial), error.partial)


def _unknown(error: BaseException, monitor: RequestMonitor) -> SubmissionUnknownError:
    said = f"{NOT_KNOWN}: the request left, and then this was raised: {_shown(error, monitor)}."
    try:
        answer = monitor.answer or monitor.partial()
        return unknown_with_ids(said + _came(answer), answer)
    except BaseException:  # it may be this very reading that failed before
        return SubmissionUnknownError(said)


def _came(answer: Answer | None) -> str:
    return f" What came of the answer: {answer.describe()}." if answer and answer.http_status else ""


def _shown(error: BaseException, monitor: RequestMonitor) -> str:
    text = f"{type(error).__name__}: {error}"
    return excerpt(masked_for_people(text, monitor.secret))
