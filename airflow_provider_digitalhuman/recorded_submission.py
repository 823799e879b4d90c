"""A paid submission from any running task, with the record that the create operator keeps."""

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_digitalhuman.compat import has_succeeded
from airflow_provider_digitalhuman.exceptions import DigitalHumanError
from airflow_provider_digitalhuman.ledger import Send
from airflow_provider_digitalhuman.ledger_stores import store_for
from airflow_provider_digitalhuman.submission import Submission, TryFacts

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_digitalhuman.api.request import VideoRequest
    from airflow_provider_digitalhuman.api.response import VideoTask
    from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook

log = logging.getLogger(__name__)


def create_recorded(hook: "DigitalHumanHook", request: "VideoRequest", context: "Context") -> "VideoTask":
    """Submit ``request`` unless this task instance has paid for it already; see :meth:`DigitalHumanHook.create_video`.

    :param context: Airflow's, of the running task.
    """
    base_url = hook.settings.base_url
    request.check_reachable_from(base_url)
    task = context["ti"].task
    submission = Submission(store_for(context, durable=True), TryFacts.of(context, task.retries))
    if isinstance(submission.decide(request, base_url), Send):
        video_task = hook.create_video(request, observer=submission)
    else:
        video_task = current_task(hook, submission.recorded_task(), request.video_url)
    _end_record_on_success(task, submission)
    return video_task


def current_task(hook: "DigitalHumanHook", recorded: "VideoTask", sent_video_url: str) -> "VideoTask":
    """Return the state of a video that was submitted before: as the API reports it now, else as it was recorded.

    :param sent_video_url: the clip that the video is made of.
    """
    try:
        return hook.get_video(recorded.id, sent_video_url)
    except DigitalHumanError as error:
        log.warning("The state of video task %s could not be asked for: %s", recorded.id, error)
        return recorded


def _end_record_on_success(task: Any, submission: Submission) -> None:
    """Have Airflow end the record once it has the task's success: a clear from then on asks for a new video."""

    def end_record(context: "Context") -> None:
        try:
            if has_succeeded(context["ti"]):
                submission.succeeded()
        except Exception as error:
            log.warning("The record of the submission was not ended, so a clear goes on with this video: %s", error)

    own = task.on_success_callback or []
    task.on_success_callback = [end_record, *(own if isinstance(own, list | tuple) else [own])]
