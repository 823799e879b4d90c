"""What can go wrong, one class per meaning. The one place that says which of them end Airflow's retries.

No Airflow in here: the classes serve the pure ``api`` package and the hook too. Operators and sensors
turn them into what Airflow understands with ``support.retries.airflow_retries``.
"""

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from airflow_provider_digitalhuman.api.redact import excerpt

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.api.response import VideoTask

__all__ = [
    "AuthenticationError",
    "ConnectionMissingError",
    "DigitalHumanError",
    "DownloadError",
    "DownloadRefusedError",
    "InsufficientBalanceError",
    "InvalidConnectionError",
    "InvalidRequestError",
    "LedgerError",
    "OnUnknownSubmission",
    "OnVideoFailed",
    "QueryError",
    "RateLimitError",
    "RequestChangedError",
    "RequestRefusedError",
    "ServiceUnreachableError",
    "SubmissionUnknownError",
    "VideoFailedError",
    "VideoTaskNotFoundError",
    "VideoUrlMissingError",
    "WaitTimeoutError",
]

OnUnknownSubmission = Literal["fail", "resubmit"]
"""What a DAG author may choose for ``SubmissionUnknownError``."""
OnVideoFailed = Literal["fail", "retry"]
"""What a DAG author may choose for ``VideoFailedError``."""
NOT_KNOWN: Final = "It is not known whether the video was accepted and charged"
"""How the text of each ``SubmissionUnknownError`` begins."""
_ID_STANDS: Final = "An ID stands in the answer:"


class DigitalHumanError(Exception):
    """Base of every error of this provider."""

    ends_retries: ClassVar[bool] = False
    """True where another try by Airflow could not help, or could cost money."""


class InvalidRequestError(DigitalHumanError, ValueError):
    """A parameter of the video was refused here, before anything was sent (contract F1)."""

    ends_retries = True


class InvalidConnectionError(DigitalHumanError, ValueError):
    """A field of the Airflow connection cannot be used; nothing was sent."""

    ends_retries = True


class ConnectionMissingError(DigitalHumanError):
    """Airflow has no connection of this ID, could not look it up, or the triggerer could not use it.

    Airflow reports the first two alike.
    """


class ServiceUnreachableError(DigitalHumanError):
    """No byte of the request left this machine: nothing was accepted (contract F2)."""


class RateLimitError(DigitalHumanError):
    """The API asked to slow down; nothing was accepted (contract F9).

    :param retry_after: seconds that the server asked to wait, None if it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthenticationError(DigitalHumanError):
    """The API refused the key (contract F7, F14)."""

    ends_retries = True


def naming_connection(error: AuthenticationError, digitalhuman_conn_id: str) -> AuthenticationError:
    """Return the error with the Airflow connection that holds the key."""
    return AuthenticationError(f"{error} It is the key of connection {digitalhuman_conn_id!r}.")


class InsufficientBalanceError(DigitalHumanError):
    """The account cannot pay for the video; nothing was accepted (contract F8)."""

    ends_retries = True


class RequestRefusedError(DigitalHumanError):
    """The API answered that it does not accept this request (contract F6, F10)."""

    ends_retries = True


class SubmissionUnknownError(DigitalHumanError):
    """The request left, and nothing proves whether a video was accepted and charged (contract F3-F5, F12, F24, F25).

    :param video_task_id: an ID that stands in the answer, so possibly the video task's; the message names it, too.
    """

    ends_retries = True

    def __init__(self, message: str, *, video_task_id: str | None = None) -> None:
        if video_task_id is not None and _ID_STANDS not in message:
            message = f"{message} {_ID_STANDS} {excerpt(video_task_id)}."
        super().__init__(message)
        self.video_task_id = video_task_id


class RequestChangedError(DigitalHumanError):
    """The task instance has paid for the video of another request; nothing was sent, and that video is not returned."""

    ends_retries = True


class QueryError(DigitalHumanError):
    """One query brought no usable answer; the video itself is not affected (contract F13).

    :param retry_after: seconds that the server asked to wait, None if it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LedgerError(DigitalHumanError):
    """The record of the submission could not be read or written; without it no POST may leave."""


class VideoTaskNotFoundError(DigitalHumanError):
    """The API does not know the video task's ID (contract F15)."""

    ends_retries = True


class VideoFailedError(DigitalHumanError):
    """The vendor ended the task without a video: failed, cancelled or expired (contract F16).

    :param task: the task as the vendor reported it last.
    """

    ends_retries = True

    def __init__(self, message: str, task: "VideoTask | None" = None) -> None:
        super().__init__(message)
        self.task = task


class VideoUrlMissingError(DigitalHumanError):
    """The task is completed, but its URL does not come; another try asks again (contract F18)."""


class WaitTimeoutError(DigitalHumanError):
    """The video was not there by the deadline; it is not affected, and another try goes on waiting (contract F19)."""


class DownloadError(DigitalHumanError):
    """The finished video could not be fetched, verified or stored (contract F20-F22)."""


class DownloadRefusedError(DownloadError):
    """The finished video may not be stored: too large, at a private address, or another file is in its place."""

    ends_retries = True
