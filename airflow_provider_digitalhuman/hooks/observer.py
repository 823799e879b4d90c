"""Observers: each step of a submission is reported to one, which can write it down before the next step."""

import contextlib
from typing import Protocol

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import DigitalHumanError, SubmissionUnknownError
from airflow_provider_digitalhuman.support.logs import Log


class SubmissionObserver(Protocol):
    """Is called at every step around each POST, before the next one is taken."""

    def sending(self) -> None:
        """The POST is about to leave. An exception raised in here keeps it from leaving."""

    def not_accepted(self, why: DigitalHumanError) -> None:
        """The POST was provably not accepted."""

    def outcome_unknown(self, why: SubmissionUnknownError) -> None:
        """The POST left, and it cannot be known whether it was accepted. May raise ``why`` anew, with more in it."""

    def accepted(self, task: VideoTask) -> None:
        """The API took the task and named its ID."""


class LastOutcome:
    """The observer of a call without a record: keeps what became of its last POST."""

    def __init__(self) -> None:
        self.is_open = False
        self.known = ""
        self.video_task_id: str | None = None

    def sending(self) -> None:
        """Forget the POST before, which was not accepted."""
        self.is_open = False

    def not_accepted(self, why: DigitalHumanError) -> None:
        """Nothing is open."""
        self.is_open = False

    def outcome_unknown(self, why: SubmissionUnknownError) -> None:
        """Keep what is known."""
        self.is_open, self.known, self.video_task_id = True, str(why), why.video_task_id

    def accepted(self, task: VideoTask) -> None:
        """Keep the ID."""
        self.is_open, self.known, self.video_task_id = True, "The video was accepted.", task.id


def write_down(outcome: VideoTask | DigitalHumanError, observer: SubmissionObserver) -> None:
    """Have the outcome of a POST written down, also where Airflow's time-out interrupts just that."""
    try:
        report(outcome, observer)
    except Exception:
        raise
    except BaseException:
        with contextlib.suppress(Exception):
            report(outcome, observer)
        raise


def write_down_if_possible(outcome: VideoTask | DigitalHumanError, observer: SubmissionObserver, log: Log) -> None:
    """Write down the outcome of a submission that something else ends: that is what is raised then."""
    known = outcome if isinstance(outcome, DigitalHumanError) else f"video task {outcome.id} was accepted."
    log.warning("The submission was interrupted. What is known of it: %s", known)
    try:
        write_down(outcome, observer)
    except Exception as error:
        log.warning("%s", error)


def report(outcome: VideoTask | DigitalHumanError, observer: SubmissionObserver) -> None:
    """Call the method of ``observer`` that stands for the outcome of a POST."""
    if isinstance(outcome, SubmissionUnknownError):
        observer.outcome_unknown(outcome)
    elif isinstance(outcome, DigitalHumanError):
        observer.not_accepted(outcome)
    else:
        observer.accepted(outcome)
