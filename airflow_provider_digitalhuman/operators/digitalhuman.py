"""The operator that makes a video; the one that only archives is offered from here, too."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, get_args

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout, BaseOperator, conf

from airflow_provider_digitalhuman.api.endpoints import RECOMMENDED_MODEL_VERSION
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    InvalidRequestError,
    OnUnknownSubmission,
    OnVideoFailed,
    SubmissionUnknownError,
    VideoFailedError,
    VideoTaskNotFoundError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.support.compat import (
    airflow_retries,
    ends_from_trigger,
    refuse_multiple_outputs,
    refuse_what_only_a_worker_does,
)
from airflow_provider_digitalhuman.support.lineage import LineageFacts, OpenLineageMixin
from airflow_provider_digitalhuman.support.links import XCOM_VIDEO_TASK, DigitalHumanVideoLink, push_video_link
from airflow_provider_digitalhuman.support.templates import TemplateFields, is_rendered_later

# A task process that inherits nothing imports this module: what only a running task needs is imported where it is used.
if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_digitalhuman.api.response import VideoTask
    from airflow_provider_digitalhuman.ledger.submission import Submission
    from airflow_provider_digitalhuman.operators.delivery import Delivery
    from airflow_provider_digitalhuman.operators.download import (
        DownloadDigitalHumanVideoOperator as DownloadDigitalHumanVideoOperator,
    )
    from airflow_provider_digitalhuman.waiting.decision import VideoWait

DEFAULT_TIMEOUT: Final = 3600.0
"""Seconds to wait for a video; the vendor names no figure, sibling endpoints take 2 to 15 minutes."""
LONGEST_TIMEOUT: Final = 1e9
"""Seconds; some 30 years, after which dates would end."""
_CHOICES: Final = {
    "on_unknown_submission": get_args(OnUnknownSubmission),
    "on_video_failed": get_args(OnVideoFailed),
}


def __getattr__(name: str) -> Any:
    if name == "DownloadDigitalHumanVideoOperator":
        from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator

        return DownloadDigitalHumanVideoOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class CreateDigitalHumanVideoOperator(OpenLineageMixin, BaseOperator):
    """Make a lip-sync video: the mouth in ``video_url`` follows the speech in ``audio_url``.

    Returns the vendor's task ID (a string), and pushes the whole task as a dict under the XCom key ``video_task``:
    as it was accepted, and again as it was completed if it waits. With ``destination`` it also pushes ``archive``, and
    its outlets are announced, as :class:`DownloadDigitalHumanVideoOperator` does; with either, ``metrics``.

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
    :param poll_interval: seconds between two queries of a young task, more for an older one; None takes what the vendor
        asks for, 5 to 10.
    :param timeout: seconds that one try waits. Another try, or a clear, goes on waiting for the same video.
    :param end_from_trigger: with ``deferrable``, let the triggerer end the task when the video is completed, without
        another worker. Airflow then announces no outlets, runs no success callback and reports no lineage, so
        ``outlets``, ``on_success_callback`` and ``destination`` are refused; and no record tells that the task has
        ended well: the first clear afterwards returns the same video, the next one makes a new one. Below Airflow 3.3,
        and with ``do_xcom_push=False``, a worker ends the task all the same.
    :param destination: archive the finished video there (needs ``wait_for_completion``), as
        :class:`DownloadDigitalHumanVideoOperator` does; a failed download never submits again. (templated)
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

    template_fields = TemplateFields(
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
    operator_extra_links = (DigitalHumanVideoLink(),)
    ui_color = "#e8def8"
    # Of the running task. Kept here, as Airflow takes its time for each attribute that a task is given.
    _task: "VideoTask | None" = None
    _delivery: "Delivery | None" = None

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
        check_media: bool = False,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        end_from_trigger: bool = False,
        destination: str | None = None,
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
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.end_from_trigger = end_from_trigger
        self.destination = destination
        self.storage_conn_id = storage_conn_id
        self.overwrite = overwrite
        self.durable = durable
        self.on_unknown_submission = on_unknown_submission
        self.on_video_failed = on_video_failed
        self._refuse_bad_literals()

    def execute(self, context: "Context") -> str:
        """Submit the video, unless this task instance has done so already, and return the vendor's task ID."""
        if not self.wait_for_completion:
            self._log_arguments_without_effect()
        with self._airflow_retries(), DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            submission = self._submission(context)
            try:
                task = self._submit_or_go_on(hook, submission)
            except AirflowTaskTimeout as error:  # maybe in the middle of the POST
                if not submission.outlasts_try:
                    self._end_retries(error)
                raise
            wait = self._new_wait(task) if self.wait_for_completion or task.is_failed else None
            times = wait.times if wait else dict
            return self._conclude(context, hook, submission, lambda: self._outcome(context, hook, task, wait), times)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: "Context") -> Any:
        """Go on after a deferral, or fail where the triggerer could not wait to the end (Airflow calls this)."""
        from airflow_provider_digitalhuman.ledger.stores import store_for

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if next_method == "__fail__" and not store_for(context, self.durable).outlasts_try:
                self._end_retries(error)
            raise

    def execute_complete(self, context: "Context", event: Any) -> str:
        """Go on after the wait in the triggerer, and return the vendor's task ID."""
        from airflow_provider_digitalhuman.triggers.events import task_of, times_of, video_task_id_of

        with self._airflow_retries(), DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            submission = self._submission(context)

            def outcome() -> "VideoTask":
                if waited_for := video_task_id_of(event):
                    submission.check_is_of(waited_for)
                return self._of_the_trigger(hook, task_of(event))

            return self._conclude(context, hook, submission, outcome, lambda: times_of(event))

    def on_kill(self) -> None:
        """Say what becomes of the video: the vendor has no cancel."""
        if self._task:
            self.log.warning("Killed. The vendor has no cancel: video task %s goes on and is charged.", self._task.id)

    def lineage_facts(self) -> LineageFacts:
        """Return what is known of the video's lineage."""
        return LineageFacts(
            media_urls=tuple(
                url
                for row in VideoRequest.table()
                if row.is_media and isinstance(url := getattr(self, row.name), str)  # on start, it may be a template
            ),
            model_version=self.model_version,
            video_task_id=self._task.id if self._task else None,
            task=self._task,
            archived=self._delivery.archived if self._delivery else None,
            base_url=self._delivery.hook.settings.base_url if self._delivery else None,
        )

    def _airflow_retries(self) -> AbstractContextManager[None]:
        retried: list[type[DigitalHumanError]] = []
        if self.on_unknown_submission == "resubmit":
            retried.append(SubmissionUnknownError)
        if self.on_video_failed == "retry":
            retried.append(VideoFailedError)
        return airflow_retries(*retried)

    def _submission(self, context: "Context") -> "Submission":
        from airflow_provider_digitalhuman.hooks.recorded_submission import end_record_on_success
        from airflow_provider_digitalhuman.ledger.stores import store_for
        from airflow_provider_digitalhuman.ledger.submission import Submission
        from airflow_provider_digitalhuman.ledger.try_facts import TryFacts

        submission = Submission(store_for(context, self.durable), TryFacts.of(context, self.retries))
        if self.durable:
            end_record_on_success(self, submission)
        return submission

    def _submit_or_go_on(self, hook: DigitalHumanHook, submission: "Submission") -> "VideoTask":
        from airflow_provider_digitalhuman.ledger.decision import Send

        request, base_url = self._request(hook), hook.settings.base_url
        request.check_reachable_from(base_url)
        decision = submission.decide(request, base_url, self.on_unknown_submission, self.on_video_failed)
        if isinstance(decision, Send):
            self._look_before_paying(request, hook)
            self.log.info("Submitting a video: %s.", request.shown_media())
            return hook.create_video(request, observer=submission)
        from airflow_provider_digitalhuman.hooks.recorded_submission import current_task

        if self.wait_for_completion:
            return submission.recorded_task()
        return current_task(hook, submission, self.video_url)

    def _request(self, hook: DigitalHumanHook) -> VideoRequest:
        given = {row.name: getattr(self, row.name) for row in VideoRequest.table()}
        if self.model is None:
            given["model"] = hook.settings.model
        return VideoRequest(**given)

    def _look_before_paying(self, request: VideoRequest, hook: DigitalHumanHook) -> None:
        """Refuse what would be paid for in vain: no way to wait, no way to store, media not there."""
        if self.wait_for_completion and self.deferrable:
            hook.check_for_triggerer()
        if self.destination is not None:
            from airflow_provider_digitalhuman.archive.checks import check_before_paying

            check_before_paying(self.destination, self.storage_conn_id, overwrite=self.overwrite, log=self.log)
        if self.check_media:
            from airflow_provider_digitalhuman.archive.media_check import check_media

            settings = hook.settings
            check_media(
                request,
                log=self.log,
                verify=settings.verify,
                proxies=settings.proxies,
                connect_timeout=settings.connect_timeout,
            )

    def _new_wait(self, task: "VideoTask") -> "VideoWait":
        from airflow_provider_digitalhuman.waiting.decision import VideoWait

        return VideoWait(task.id, deadline=time.time() + self.timeout, poll_interval=self.poll_interval)

    def _outcome(
        self, context: "Context", hook: DigitalHumanHook, task: "VideoTask", wait: "VideoWait | None"
    ) -> "VideoTask":
        """Return the task as this operator ends with it; raises what ends it otherwise, or defers.

        :param wait: None where there is nothing to wait for.
        """
        self._keep(task, context)
        if wait is not None and not self.deferrable:
            push_video_link(context["ti"])
        return task if wait is None else self._waited_for(hook, task, wait)

    def _waited_for(self, hook: DigitalHumanHook, task: "VideoTask", wait: "VideoWait") -> "VideoTask":
        from airflow_provider_digitalhuman.waiting.decision import Wait, query_outcome, wait_blocking

        def query() -> "VideoTask":
            return hook.query_video(task.id, self.video_url)

        known = wait.judge(task, time.time())
        if not isinstance(known, Wait):
            return known.result()
        if not self.deferrable:
            return wait_blocking(query, wait, log=self.log.info, sleep=time.sleep, clock=time.time)
        # Once in the worker: a video that is there already needs no trigger.
        asked = wait.judge(query_outcome(query), time.time())
        return self._defer(task, wait.deadline) if isinstance(asked, Wait) else asked.result()

    def _of_the_trigger(self, hook: DigitalHumanHook, task: "VideoTask") -> "VideoTask":
        """Return the completed task that the trigger brings; it cannot know the presenter's clip, which is no result.

        :raises VideoUrlMissingError: if further queries name nothing else either.
        """
        from airflow_provider_digitalhuman.api.reader import is_same_file
        from airflow_provider_digitalhuman.waiting.decision import wait_blocking

        if not is_same_file(task.video_url, self.video_url):
            return task
        return wait_blocking(
            lambda: hook.query_video(task.id, self.video_url),
            self._new_wait(task),
            log=self.log.info,
            sleep=time.sleep,
            clock=time.time,
        )

    def _defer(self, task: "VideoTask", deadline: float) -> NoReturn:
        from airflow_provider_digitalhuman.triggers.digitalhuman import deferral

        self.log.info("Waiting for video task %s in the triggerer.", task.id)
        self.defer(
            method_name="execute_complete",
            **deferral(
                task.id,
                digitalhuman_conn_id=self.digitalhuman_conn_id,
                deadline=deadline,
                poll_interval=self.poll_interval,
                submitted_at=task.created.timestamp() if task.created else None,
                ends_task="create" if ends_from_trigger(self) else None,
            ),
        )
        raise AssertionError("defer() does not return")

    def _conclude(
        self,
        context: "Context",
        hook: DigitalHumanHook,
        submission: "Submission",
        outcome: Callable[[], "VideoTask"],
        times: Callable[[], dict[str, float | None]],
    ) -> str:
        """End the same way on every path: keep what is known of the video, in XCom and on record."""
        try:
            task = outcome()
            self._keep(task, context)
            self._archive(context, hook, submission, task)
        except (Exception, AirflowTaskTimeout) as error:  # which is no Exception
            if isinstance(error, VideoTaskNotFoundError):
                submission.not_found(error)
            if isinstance(error, VideoFailedError):
                submission.failed(error)
                if error.task:
                    self._keep(error.task, context)
            self._report(context, "failed", times())
            if not submission.outlasts_try:
                self._end_retries(error)
            raise
        self._report(context, "success", times())
        return task.id

    def _end_retries(self, error: BaseException) -> None:
        """Keep a retry from paying again where no record would hold it back, unless the author wants it to."""
        if isinstance(error, VideoFailedError) and self.on_video_failed == "retry":
            return
        raise AirflowFailException(
            f"{error} But no record outlasts this try: it is not retried, and a clear submits and pays again."
            " DigitalHumanVideoSensor goes on waiting for a video that was accepted."
        ) from error

    def _keep(self, task: "VideoTask", context: "Context") -> None:
        if task != self._task:
            self._task = task
            context["ti"].xcom_push(key=XCOM_VIDEO_TASK, value=task.to_dict())

    def _archive(self, context: "Context", hook: DigitalHumanHook, submission: "Submission", task: "VideoTask") -> None:
        if self.destination is None:
            return
        from airflow_provider_digitalhuman.operators.delivery import Delivery

        self._delivery = Delivery(hook, task.id, self.video_url)
        try:
            self._delivery.run(
                context,
                self.destination,
                outlets=self.outlets,
                storage_conn_id=self.storage_conn_id,
                overwrite=self.overwrite,
            )
        except (Exception, AirflowTaskTimeout):
            submission.completed()
            raise

    def _report(
        self, context: "Context", outcome: Literal["success", "failed"], times: dict[str, float | None]
    ) -> None:
        if not self.wait_for_completion:
            return
        from airflow_provider_digitalhuman.support.metrics import report, video_metrics

        known = self._delivery.known() if self._delivery else {}
        ti = context["ti"]
        report(ti, video_metrics(ti.try_number, outcome, self._task, **times, **known))

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
        for option in ("timeout", "poll_interval"):
            seconds = getattr(self, option)
            if seconds is not None and (isinstance(seconds, bool) or not 0 < seconds <= LONGEST_TIMEOUT):
                raise InvalidRequestError(
                    f"{option}={seconds!r} cannot be used: give a positive number of seconds, {LONGEST_TIMEOUT:.0f} at"
                    " most."
                )
        if self.destination is not None:
            self._refuse_bad_destination(self.destination)
        refuse_what_only_a_worker_does(self)
        refuse_multiple_outputs(self)
        for row in VideoRequest.table():
            value = getattr(self, row.name)
            left_to_connection = row.name == "model" and value is None
            if not left_to_connection and not is_rendered_later(value):
                row.check(row.name, value)

    def _refuse_bad_destination(self, destination: str) -> None:
        if not self.wait_for_completion:
            raise InvalidRequestError(
                "destination cannot be used without wait_for_completion=True: there is no video to archive yet."
            )
        if not is_rendered_later(destination):
            from airflow_provider_digitalhuman.archive.destination import check_destination

            check_destination(destination)
