"""A paid submission from any running task, with the record that the create operator keeps."""

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    LedgerError,
    VideoFailedError,
    VideoTaskNotFoundError,
)
from airflow_provider_digitalhuman.ledger.decision import Send
from airflow_provider_digitalhuman.ledger.stores import store_for
from airflow_provider_digitalhuman.ledger.submission import Submission
from airflow_provider_digitalhuman.ledger.try_facts import TryFacts
from airflow_provider_digitalhuman.support.compat import has_succeeded

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

_one_at_a_time = threading.Lock()
"""A task instance has one record, so its threads wait for each other."""


class VideoClient(Protocol):
    """What this module needs of the hook."""

    @property
    def settings(self) -> ConnectionSettings:
        """The connection."""

    def create_video(self, request: VideoRequest, observer: Submission) -> VideoTask:
        """Submit one video, and report each step to ``observer``."""

    def get_video(self, video_task_id: str, sent_video_url: str) -> VideoTask:
        """Ask for the state of a video."""


def create_recorded(hook: VideoClient, request: VideoRequest, context: "Context") -> VideoTask:
    """Submit ``request`` unless this task instance has paid for it already; see the hook's ``create_video``.

    :param context: Airflow's, of the running task.
    :raises LedgerError: if the context holds no place for the record; nothing was sent.
    """
    base_url, task, store = hook.settings.base_url, context["ti"].task, store_for(context, durable=True)
    request.check_reachable_from(base_url)
    if not store.outlasts_try:
        raise LedgerError(
            "context holds no task_state_store, so the record of the submission would not outlast this try: nothing was"
            " sent. Give the context that Airflow passes to the running task."
        )
    with _one_at_a_time:
        submission = Submission(store, TryFacts.of(context, task.retries, own_code=True))
        if isinstance(submission.decide(request, base_url), Send):
            video_task = hook.create_video(request, observer=submission)
        else:
            video_task = current_task(hook, submission, request.video_url)
        end_record_on_success(task, submission)
    if video_task.is_failed:
        submission.failed(VideoFailedError(f"The vendor ended it as {video_task.status!r}.", video_task))
    return video_task


def current_task(hook: VideoClient, submission: Submission, sent_video_url: str) -> VideoTask:
    """Return the state of a video that was submitted before: as the API reports it now, else as it was recorded.

    :param sent_video_url: the clip that the video is made of.
    :raises VideoTaskNotFoundError: if a person has named an ID that the API does not know.
    """
    recorded = submission.recorded_task()
    try:
        return hook.get_video(recorded.id, sent_video_url)
    except DigitalHumanError as error:
        if submission.is_adopted and isinstance(error, VideoTaskNotFoundError):
            raise
        log.warning("The state of video task %s could not be asked for: %s", recorded.id, error)
        return recorded


class EndRecord:
    """Success callback: a clear from now on asks for a new video.

    Not at the end of ``execute``: what Airflow does after it can still fail the task, and a clear of that must not pay.
    """

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    def __call__(self, context: "Context") -> None:
        """End the record, if Airflow has the success."""
        try:
            if has_succeeded(context["ti"]):
                self._submission.succeeded()
        except Exception as error:
            log.warning("The record of the submission was not ended, so a clear goes on with this video: %s", error)


def end_record_on_success(task: Any, submission: Submission) -> None:
    """Have Airflow call :class:`EndRecord` once the running ``task`` has succeeded, before the author's callbacks."""
    own = task.on_success_callback or []
    others = [one for one in (own if isinstance(own, list | tuple) else [own]) if not isinstance(one, EndRecord)]
    task.on_success_callback = [EndRecord(submission), *others]
