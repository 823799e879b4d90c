"""The way into Airflow's retries: which errors of this provider end them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, RequestChangedError, SubmissionUnknownError
from airflow_provider_digitalhuman.support.log_lines import short_lines

log = logging.getLogger(__name__)


@contextmanager
def airflow_retries(*retried: type[DigitalHumanError]) -> Iterator[None]:
    """Let an error of this provider end Airflow's retries where its class says that another try could not help.

    What it says is logged before, in short lines: the log view shows the beginning of an exception's message only.

    :param retried: classes that are retried all the same, as the DAG author has chosen.
    :raises AirflowFailException: in place of such an error, with its message, and with it as the context, so that the
        task's log shows one traceback; see also :func:`final_if_unknown`.
    """
    try:
        yield
    except DigitalHumanError as error:
        explained = isinstance(error, SubmissionUnknownError | RequestChangedError)  # what to do is in the log
        if not explained:
            for line in short_lines(str(error)):
                log.error("%s", line)
        if not error.ends_retries or isinstance(error, retried):
            raise
        with final_if_unknown():
            if explained:
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
