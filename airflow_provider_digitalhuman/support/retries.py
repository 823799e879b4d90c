"""The way into Airflow's retries: which errors of this provider end them."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, RequestChangedError, SubmissionUnknownError


@contextmanager
def airflow_retries(*retried: type[DigitalHumanError]) -> Iterator[None]:
    """Let an error of this provider end Airflow's retries where its class says that another try could not help.

    :param retried: classes that are retried all the same, as the DAG author has chosen.
    :raises AirflowFailException: in place of such an error, with its message, and with it as the context, so that the
        task's log shows one traceback; see also :func:`final_if_unknown`.
    """
    try:
        yield
    except DigitalHumanError as error:
        if not error.ends_retries or isinstance(error, retried):
            raise
        with final_if_unknown():
            if isinstance(error, SubmissionUnknownError | RequestChangedError):
                raise
        raise AirflowFailException(str(error)) from None


class FinalSubmissionUnknownError(SubmissionUnknownError, AirflowFailException):
    """The same error for code that does not go through this provider's operators: Airflow does not retry it either."""


class FinalRequestChangedError(RequestChangedError, AirflowFailException):
    """Likewise."""


@contextmanager
def final_if_unknown() -> Iterator[None]:
    """Let an error after which no retry may pay end Airflow's retries wherever it is raised.

    Each in one traceback: what led to it is in the task's log.

    :raises FinalSubmissionUnknownError: in place of a :class:`SubmissionUnknownError`, of which it is one.
    :raises FinalRequestChangedError: likewise.
    """
    try:
        yield
    except SubmissionUnknownError as error:
        raise FinalSubmissionUnknownError(str(error), video_task_id=error.video_task_id) from None
    except RequestChangedError as error:
        raise FinalRequestChangedError(str(error)) from None
