"""Operators that make a video and store it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_digitalhuman.api.endpoints import RECOMMENDED_MODEL_VERSION
from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.api.request import CHECKS, VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.compat import HAS_TASK_STATE_STORE, airflow_retries
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    InvalidRequestError,
    SubmissionUnknownError,
    VideoFailedError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.ledger import OnUnknownSubmission, OnVideoFailed
from airflow_provider_digitalhuman.ledger_stores import store_for, tidy_up
from airflow_provider_digitalhuman.submission import Submission

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

XCOM_VIDEO_TASK: Final = "video_task"
_CHOICES: Final = {
    "on_unknown_submission": get_args(OnUnknownSubmission),
    "on_video_failed": get_args(OnVideoFailed),
}


class CreateDigitalHumanVideoOperator(BaseOperator):
    """Submit a lip-sync video: the mouth in ``video_url`` follows the speech in ``audio_url``.

    Returns the vendor's task ID (a string), and pushes the whole task as a dict under the XCom key ``video_task``.

    :param audio_url: network URL of the speech. (templated)
    :param video_url: network URL of the clip of the person. (templated)
    :param model: model name; None takes the connection's. (templated)
    :param model_version: 1, 2 (what the vendor recommends), or None to leave it out. (templated)
    :param side_face: on if the face is turned very far to the side; else leave it out. (templated)
    :param tilted_face: on if the head is tilted and the mouth slanted; else leave it out. (templated)
    :param digitalhuman_conn_id: the Airflow connection. (templated)
    :param durable: keep a record of the submission that outlasts the try, so that whatever dies, no second video is
        paid for. Turn it off only where nothing may be stored.
    :param on_unknown_submission: what a try does when it is not known whether the last POST was accepted:
        ``"fail"`` for a person to look, or ``"resubmit"`` at the risk of paying twice.
    :param on_video_failed: what happens when the vendor fails the video: ``"fail"`` for good, or ``"retry"``, which
        lets Airflow's retries pay for another one.
    :raises InvalidRequestError: when the DAG is parsed, for a literal parameter that the API would refuse.
    """

    template_fields: Sequence[str] = (
        "audio_url",
        "video_url",
        "model",
        "model_version",
        "side_face",
        "tilted_face",
        "digitalhuman_conn_id",
    )
    ui_color = "#e8def8"

    def __init__(
        self,
        *,
        audio_url: str,
        video_url: str,
        model: str | None = None,
        model_version: int | str | None = RECOMMENDED_MODEL_VERSION,
        side_face: bool | int | str | None = None,
        tilted_face: bool | int | str | None = None,
        digitalhuman_conn_id: str = DigitalHumanHook.default_conn_name,
        durable: bool = True,
        on_unknown_submission: OnUnknownSubmission = "fail",
        on_video_failed: OnVideoFailed = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audio_url = audio_url
        self.video_url = video_url
        self.model = model
        self.model_version = model_version
        self.side_face = side_face
        self.tilted_face = tilted_face
        self.digitalhuman_conn_id = digitalhuman_conn_id
        self.durable = durable
        self.on_unknown_submission = on_unknown_submission
        self.on_video_failed = on_video_failed
        self._video_task_id: str | None = None
        self._refuse_bad_literals()
        if durable and not HAS_TASK_STATE_STORE:
            self._tidy_up_on_success()

    def execute(self, context: "Context") -> str:
        """Submit the video, unless this task instance has done so already, and return the vendor's task ID."""
        with self._airflow_retries(), DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            request = self._request(hook)
            submission = self._submission(context)
            task = self._submit_or_go_on(hook, request, submission)
            self._keep(task, context)
            self._fail_if_failed(task, submission)
            submission.returned()
            return task.id

    def on_kill(self) -> None:
        """Say what becomes of the video: the vendor has no cancel."""
        if self._video_task_id:
            self.log.warning(
                "Killed. The vendor has no cancel: video task %s goes on and is charged.", self._video_task_id
            )

    def _airflow_retries(self) -> AbstractContextManager[None]:
        retried: list[type[DigitalHumanError]] = []
        if self.on_unknown_submission == "resubmit":
            retried.append(SubmissionUnknownError)
        if self.on_video_failed == "retry":
            retried.append(VideoFailedError)
        return airflow_retries(*retried)

    def _submission(self, context: "Context") -> Submission:
        ti = context["ti"]
        return Submission(store_for(context, self.durable), generation=ti.max_tries, try_number=ti.try_number)

    def _submit_or_go_on(self, hook: DigitalHumanHook, request: VideoRequest, submission: Submission) -> VideoTask:
        request.check_reachable_from(hook.settings.base_url)
        if submission.may_send(request, hook.settings.base_url, self.on_unknown_submission, self.on_video_failed):
            self.log.info(
                "Submitting a video of %s with %s.", redact_url(request.video_url), redact_url(request.audio_url)
            )
            return hook.create_video(request, observer=submission)
        return self._look_up(hook, submission)

    def _look_up(self, hook: DigitalHumanHook, submission: Submission) -> VideoTask:
        """Return the state of a video that was submitted before: as the API tells it now, else as it was recorded."""
        recorded = submission.recorded_task()
        try:
            return hook.get_video(recorded.id)
        except DigitalHumanError as error:
            self.log.warning("The state of video task %s could not be asked for: %s", recorded.id, error)
            return recorded

    def _fail_if_failed(self, task: VideoTask, submission: Submission) -> None:
        if task.is_failed:
            error = VideoFailedError(f"The vendor ended video task {task.id} as {task.status}: {task.error}.")
            submission.failed(error)
            raise error

    def _request(self, hook: DigitalHumanHook) -> VideoRequest:
        return VideoRequest(
            audio_url=self.audio_url,
            video_url=self.video_url,
            model=hook.settings.model if self.model is None else self.model,
            model_version=self.model_version,
            side_face=self.side_face,
            tilted_face=self.tilted_face,
        )

    def _keep(self, task: VideoTask, context: "Context") -> None:
        self._video_task_id = task.id
        context["ti"].xcom_push(key=XCOM_VIDEO_TASK, value=task.to_dict())

    def _tidy_up_on_success(self) -> None:
        own = self.on_success_callback or []
        self.on_success_callback = [*(own if isinstance(own, list | tuple) else [own]), tidy_up]

    def _refuse_bad_literals(self) -> None:
        for option, choices in _CHOICES.items():
            if (chosen := getattr(self, option)) not in choices:
                raise InvalidRequestError(f"{option}={chosen!r} cannot be used: use {' or '.join(map(repr, choices))}.")
        for field, check in CHECKS.items():
            value = getattr(self, field)
            left_to_connection = field == "model" and value is None
            if not left_to_connection and not _is_rendered_later(value):
                check(field, value)


def _is_rendered_later(value: Any) -> bool:
    """Tell a template or an XComArg from a literal."""
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    return not isinstance(value, int | float | list | dict | tuple | None)
