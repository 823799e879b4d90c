"""The operators: one makes a video, one archives it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, get_args

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_digitalhuman.api.endpoints import RECOMMENDED_MODEL_VERSION
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.archive.destination import check_destination
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    InvalidRequestError,
    OnUnknownSubmission,
    OnVideoFailed,
    SubmissionUnknownError,
    VideoFailedError,
)
from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator
from airflow_provider_digitalhuman.support.arguments import (
    DEFAULT_CONN_ID,
    checked_seconds,
    errors_name_task,
    path_text,
    refuse_multiple_outputs,
    refuse_what_only_a_worker_does,
)
from airflow_provider_digitalhuman.support.lineage import OpenLineageMixin
from airflow_provider_digitalhuman.support.lineage_facts import LineageFacts
from airflow_provider_digitalhuman.support.links import DigitalHumanVideoLink
from airflow_provider_digitalhuman.support.retries import airflow_retries
from airflow_provider_digitalhuman.support.templates import RenderedAsText, is_rendered_later

# What a run needs, and parsing a DAG file does not, is imported by `_running` and `resume_execution`.
if TYPE_CHECKING:
    from os import PathLike

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_provider_digitalhuman.operators.run import CreateRun

__all__ = ["CreateDigitalHumanVideoOperator", "DownloadDigitalHumanVideoOperator"]

DEFAULT_TIMEOUT: Final = 3600.0
"""Seconds to wait for a video; the vendor names no figure, sibling endpoints take 2 to 15 minutes."""
_CHOICES: Final = {
    "on_unknown_submission": get_args(OnUnknownSubmission),
    "on_video_failed": get_args(OnVideoFailed),
}


class CreateDigitalHumanVideoOperator(RenderedAsText, OpenLineageMixin, BaseOperator):
    """Make a lip-sync video: the mouth in ``video_url`` follows the speech in ``audio_url``.

    Returns the vendor's task ID (a string), and pushes the whole task as a dict under the XCom key ``video_task``:
    as it was accepted, and again as it was completed if it waits. With ``destination`` it also pushes ``archive``, and
    its outlets are announced, as ``DownloadDigitalHumanVideoOperator`` does; with either, ``metrics``.

    :param audio_url: network URL of the speech. (templated)
    :param video_url: network URL of the clip of the person. (templated)
    :param model: model name; None takes the connection's. (templated)
    :param model_version: 1, 2 (what the vendor recommends), or None to leave it out. (templated)
    :param side_face: on if the face is turned very far to the side; else leave it out. (templated)
    :param tilted_face: on if the head is tilted and the mouth slanted; else leave it out. (templated)
    :param digitalhuman_conn_id: the Airflow connection. (templated)
    :param check_media: before paying, ask both URLs for their first byte, and refuse a file that is not there.
    :param wait_for_completion: go on until the video is made; else end when it is submitted.
    :param deferrable: wait in the triggerer, without a worker slot. Default: Airflow's ``[operators]
        default_deferrable``.
    :param poll_interval: seconds or a timedelta between two queries of a young task, more for an older one; None takes
        what the vendor asks for, 5 to 10.
    :param timeout: seconds or a timedelta that one try waits. Another try, or a clear, goes on waiting for the same
        video.
    :param end_from_trigger: with ``deferrable``, let the triggerer end the task when the video is completed, without
        another worker. Airflow then announces no outlets, runs no success callback and reports no lineage, so
        ``outlets``, ``on_success_callback`` and ``destination`` are refused; and no record tells that the task has
        ended well: the first clear afterwards returns the same video, the next one makes a new one. Below Airflow 3.3,
        and with ``do_xcom_push=False``, a worker ends the task all the same.
    :param destination: archive the finished video there (needs ``wait_for_completion``), as
        ``DownloadDigitalHumanVideoOperator`` does; a failed download never submits again. (templated)
    :param storage_conn_id: the Airflow connection of the destination's store. (templated)
    :param overwrite: replace a different file at the destination; else that is an error.
    :param durable: keep a record of the submission that outlasts the try, so that whatever dies, no second video is
        paid for. Turn it off only where nothing may be stored: then no error of this operator is retried once a video
        was accepted, and a try that dies, or fails behind its return, is not noticed by the next one, which pays again.
    :param on_unknown_submission: what a try does when it is not known whether the last POST was accepted:
        ``"fail"`` for a person to look, or ``"resubmit"`` at the risk of paying twice.
    :param on_video_failed: what happens when the vendor fails the video: ``"fail"`` for good, or ``"retry"``, which
        lets Airflow's retries pay for another one.
    :raises InvalidRequestError: when the DAG is parsed, for a literal parameter that cannot be used.
    """

    template_fields: Sequence[str] = (
        "audio_url",
        "video_url",
        "model",
        "model_version",
        "side_face",
        "tilted_face",
        "digitalhuman_conn_id",
        "destination",
        "storage_conn_id",
    )
    text_fields = ("model",)
    operator_extra_links = (DigitalHumanVideoLink(),)
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
        digitalhuman_conn_id: str = DEFAULT_CONN_ID,
        check_media: bool = False,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | None = None,
        timeout: timedelta | float = DEFAULT_TIMEOUT,
        end_from_trigger: bool = False,
        destination: "str | PathLike[str] | ObjectStoragePath | None" = None,
        storage_conn_id: str | None = None,
        overwrite: bool = False,
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
        self.check_media = check_media
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.end_from_trigger = end_from_trigger
        self.destination = path_text(destination)
        self.storage_conn_id = storage_conn_id
        self.overwrite = overwrite
        self.durable = durable
        self.on_unknown_submission = on_unknown_submission
        self.on_video_failed = on_video_failed
        self._run: CreateRun | None = None
        with errors_name_task(self.task_id):
            self.timeout = checked_seconds("timeout", timeout)
            self.poll_interval = None if poll_interval is None else checked_seconds("poll_interval", poll_interval)
            self._refuse_bad_literals()

    def execute(self, context: "Context") -> str:
        """Submit the video, unless this task instance has done so already, and return the vendor's task ID."""
        if not self.wait_for_completion:
            self._log_arguments_without_effect()
        with self._running(context) as run:
            video_task = run.submit()
            with run.concluding():
                run.keep(video_task)
                if self.wait_for_completion or video_task.is_failed:
                    video_task = run.wait_for(video_task)
                run.finish(video_task)
            return video_task.id

    def execute_complete(self, context: "Context", event: Any) -> str:
        """Go on after the wait in the triggerer, and return the vendor's task ID."""
        with self._running(context) as run:
            with run.concluding():
                video_task = run.end_of_wait(event)
                run.finish(video_task)
            return video_task.id

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: "Context") -> Any:
        """Go on after a deferral, also where the triggerer could not wait to the end (Airflow calls this)."""
        from airflow_provider_digitalhuman.triggers.last_look import TRIGGER_FAILED, event_of_failed_trigger

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception:
            if next_method != TRIGGER_FAILED:
                raise
        return self.execute_complete(context, event_of_failed_trigger(next_kwargs))

    def on_kill(self) -> None:
        """Say what becomes of the video: the vendor has no cancel."""
        if self._run and self._run.video_task:
            video_task_id = self._run.video_task.id
            self.log.warning("Killed. The vendor has no cancel: video task %s goes on and is charged.", video_task_id)

    def lineage_facts(self) -> LineageFacts:
        """Return what is known of the video's lineage."""
        video_task = self._run.video_task if self._run else None
        delivery = self._run.delivery if self._run else None
        return LineageFacts(
            media_urls=tuple(
                url
                for row in VideoRequest.table()
                if row.is_media and isinstance(url := getattr(self, row.name), str)  # on start, it may be a template
            ),
            model_version=self.model_version,
            video_task_id=video_task.id if video_task else None,
            task=video_task,
            archived=delivery.archived if delivery else None,
            base_url=self._run.base_url if self._run and delivery else None,
        )

    @contextmanager
    def _running(self, context: "Context") -> "Iterator[CreateRun]":
        """Open the hook for a run, and let its errors into Airflow's retries as the author has chosen."""
        from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
        from airflow_provider_digitalhuman.operators.run import CreateRun

        retried: list[type[DigitalHumanError]] = []
        if self.on_unknown_submission == "resubmit":
            retried.append(SubmissionUnknownError)
        if self.on_video_failed == "retry":
            retried.append(VideoFailedError)
        with airflow_retries(*retried), DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            self._run = CreateRun(self, context, hook)
            yield self._run

    def _log_arguments_without_effect(self) -> None:
        given = {"deferrable": self.deferrable, "poll_interval": self.poll_interval is not None}
        given["timeout"] = self.timeout != DEFAULT_TIMEOUT
        if without_effect := [name for name, is_given in given.items() if is_given]:
            self.log.info(
                "This task does not wait for the video (wait_for_completion=False): %s without effect.",
                ", ".join(f"{name}={getattr(self, name)!r}" for name in without_effect),
            )

    def _refuse_bad_literals(self) -> None:
        for option, choices in _CHOICES.items():
            if (chosen := getattr(self, option)) not in choices:
                raise InvalidRequestError(f"{option}={chosen!r} cannot be used: use {' or '.join(map(repr, choices))}.")
        if self.destination is not None:
            self._refuse_bad_destination(self.destination)
        refuse_what_only_a_worker_does(self)
        refuse_multiple_outputs(self)
        for row in VideoRequest.table():
            value = getattr(self, row.name)
            left_to_connection = row.name == "model" and value is None
            if not left_to_connection and not is_rendered_later(value):
                row.check(row.name, value)

    def _refuse_bad_destination(self, destination: Any) -> None:
        if not self.wait_for_completion:
            raise InvalidRequestError(
                "destination cannot be used without wait_for_completion=True: there is no video to archive yet."
            )
        if not is_rendered_later(destination):
            check_destination(destination)
