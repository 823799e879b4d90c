"""Operators that make a video and store it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_digitalhuman.api.endpoints import RECOMMENDED_MODEL_VERSION
from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.api.request import CHECKS, VideoRequest
from airflow_provider_digitalhuman.compat import airflow_retries
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_digitalhuman.api.response import VideoTask

XCOM_VIDEO_TASK: Final = "video_task"


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
        self._refuse_bad_literals()

    def execute(self, context: "Context") -> str:
        """Submit the video and return the vendor's task ID."""
        with airflow_retries(), DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            request = self._request(hook)
            self.log.info(
                "Submitting a video of %s with %s.", redact_url(request.video_url), redact_url(request.audio_url)
            )
            task = hook.create_video(request)
            self._keep(task, context)
            return task.id

    def _request(self, hook: DigitalHumanHook) -> VideoRequest:
        return VideoRequest(
            audio_url=self.audio_url,
            video_url=self.video_url,
            model=hook.settings.model if self.model is None else self.model,
            model_version=self.model_version,
            side_face=self.side_face,
            tilted_face=self.tilted_face,
        )

    def _keep(self, task: "VideoTask", context: "Context") -> None:
        self.log.info("The vendor's task ID is %s, its status %s.", task.id, task.status)
        context["ti"].xcom_push(key=XCOM_VIDEO_TASK, value=task.to_dict())

    def _refuse_bad_literals(self) -> None:
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
