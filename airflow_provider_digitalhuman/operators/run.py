"""One run of the create operator: the steps from its arguments to the video, and what they have learned so far."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_digitalhuman.api.reader import is_same_file
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive.checks import check_before_paying
from airflow_provider_digitalhuman.exceptions import (
    OnUnknownSubmission,
    OnVideoFailed,
    QueryError,
    VideoFailedError,
    VideoTaskNotFoundError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.hooks.recorded_submission import current_task, end_record_on_success
from airflow_provider_digitalhuman.ledger.decision import Send
from airflow_provider_digitalhuman.ledger.stores import store_for
from airflow_provider_digitalhuman.ledger.submission import Submission
from airflow_provider_digitalhuman.ledger.try_facts import TryFacts
from airflow_provider_digitalhuman.support.arguments import ends_from_trigger, path_text
from airflow_provider_digitalhuman.support.links import XCOM_VIDEO_TASK, push_video_link
from airflow_provider_digitalhuman.support.logs import Log
from airflow_provider_digitalhuman.support.metrics import report, video_metrics
from airflow_provider_digitalhuman.support.templates import refuse_number_of_native_rendering
from airflow_provider_digitalhuman.triggers.digitalhuman import deferral
from airflow_provider_digitalhuman.triggers.events import times_of, video_task_id_of
from airflow_provider_digitalhuman.triggers.last_look import end_of_wait
from airflow_provider_digitalhuman.waiting.decision import VideoWait, Wait, query_outcome, wait_blocking

# What fetches files is imported where it is used: it brings an HTTP library that most runs in a worker do not need.
if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_digitalhuman.operators.delivery import Delivery


class CreateTask(Protocol):
    """What a run uses of the operator, beside the arguments of the request's table."""

    video_url: str
    model: str | None
    digitalhuman_conn_id: str
    check_media: bool
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float | None
    timeout: float
    end_from_trigger: bool
    destination: Any
    storage_conn_id: str | None
    overwrite: bool
    durable: bool
    on_unknown_submission: OnUnknownSubmission
    on_video_failed: OnVideoFailed
    retries: int | None
    outlets: Any

    @property
    def log(self) -> Any:
        """The task's logger."""

    def defer(self, *, trigger: Any, method_name: str, timeout: Any) -> NoReturn:
        """Hand over to the triggerer."""


class CreateRun:
    """The steps of one run, in their order: :meth:`submit`, :meth:`wait_for` or :meth:`end_of_wait`, :meth:`finish`.

    :param task: the operator.
    :param context: Airflow's, of the running task.
    :param hook: asks the API.
    :raises LedgerError: if the record of the submission cannot be read.
    """

    def __init__(self, task: CreateTask, context: "Context", hook: DigitalHumanHook) -> None:
        self._task = task
        self._context = context
        self._ti = context["ti"]
        self._hook = hook
        self._log: Log = task.log
        self._submission = Submission(store_for(context, task.durable), TryFacts.of(context, task.retries))
        self._times: Callable[[], dict[str, float | None]] = dict
        self.video_task: VideoTask | None = None
        self.delivery: Delivery | None = None
        if task.durable:
            end_record_on_success(task, self._submission)

    @property
    def base_url(self) -> str:
        """The API's address."""
        return self._hook.settings.base_url

    def submit(self) -> VideoTask:
        """Submit the video, unless this task instance has done so already, and return its task."""
        task, hook, submission = self._task, self._hook, self._submission
        request, base_url = self._request(), hook.settings.base_url
        request.check_reachable_from(base_url)
        decision = submission.decide(request, base_url, task.on_unknown_submission, task.on_video_failed)
        if isinstance(decision, Send):
            self._look_before_paying(request)
            self._log.info("Submitting a video: %s.", request.shown_media())
            return hook.create_video(request, observer=submission)
        if task.wait_for_completion:
            return submission.recorded_task()
        return current_task(hook, submission, task.video_url)

    def _request(self) -> VideoRequest:
        task = self._task
        refuse_number_of_native_rendering(task, "model", self._ti.map_index)
        given = {row.name: getattr(task, row.name) for row in VideoRequest.table()}
        if task.model is None:
            given["model"] = self._hook.settings.model
        return VideoRequest(**given)

    def _look_before_paying(self, request: VideoRequest) -> None:
        """Refuse a video that could not be made, waited for or stored, before it is paid for."""
        task, hook = self._task, self._hook
        if task.wait_for_completion and task.deferrable:
            hook.check_for_triggerer()
        if task.destination is not None:
            destination = path_text(task.destination)
            check_before_paying(destination, task.storage_conn_id, overwrite=task.overwrite, log=self._log)
        if task.check_media:
            from airflow_provider_digitalhuman.archive.media_check import check_media

            check_media(request, log=self._log, access=hook.settings.file_access)

    def wait_for(self, video_task: VideoTask) -> VideoTask:
        """Return the completed video, or defer until it is.

        :raises DigitalHumanError: what ended the wait, such as a failed video.
        """
        wait = self._new_wait(video_task.id)
        self._times = wait.times
        if not self._task.deferrable:
            push_video_link(self._ti)
        known = wait.judge(video_task, time.time())
        if not isinstance(known, Wait):
            return known.result()
        if not self._task.deferrable:
            return self._wait_here(wait)
        # Once in the worker: a video that is there already needs no trigger.
        asked = wait.judge(query_outcome(lambda: self._query(video_task.id)), time.time())
        return self._defer(video_task, wait.deadline) if isinstance(asked, Wait) else asked.result()

    def end_of_wait(self, event: Any) -> VideoTask:
        """Return the completed video that the trigger's event brings, or that a last look finds.

        :raises LedgerError: if the record names another video by now.
        :raises DigitalHumanError: what ended the wait.
        """
        self._times = lambda: times_of(event)
        waited_for = video_task_id_of(event)
        if waited_for:
            self._submission.check_is_of(waited_for)
        record = self._submission.record
        video_task_id = waited_for or (record and record.video_task_id) or ""
        video_task = end_of_wait(event, video_task_id, lambda: self._query(video_task_id))
        # The trigger cannot know the presenter's clip, which is no result.
        if is_same_file(video_task.video_url, self._task.video_url):
            return self._wait_here(self._new_wait(video_task.id))
        return video_task

    def keep(self, video_task: VideoTask) -> None:
        """Keep what is known of the video in XCom."""
        if video_task != self.video_task:
            self.video_task = video_task
            self._ti.xcom_push(key=XCOM_VIDEO_TASK, value=video_task.to_dict())

    def finish(self, video_task: VideoTask) -> None:
        """Keep the video, and archive it where that was asked for."""
        self.keep(video_task)
        task = self._task
        if task.destination is None:
            return
        from airflow_provider_digitalhuman.operators.delivery import Delivery

        self.delivery = Delivery(self._hook, video_task.id, task.video_url)
        try:
            self.delivery.run(
                self._context,
                path_text(task.destination),
                outlets=task.outlets,
                storage_conn_id=task.storage_conn_id,
                overwrite=task.overwrite,
            )
        except (Exception, AirflowTaskTimeout):
            self._submission.completed()
            raise

    @contextmanager
    def concluding(self) -> Iterator[None]:
        """End the same way on every path: keep what is known of the video, in XCom and on record."""
        try:
            yield
        except (Exception, AirflowTaskTimeout) as error:  # which is no Exception
            if isinstance(error, VideoTaskNotFoundError):
                self._submission.not_found(error)
            if isinstance(error, VideoFailedError):
                self._submission.failed(error)
                if error.task:
                    self.keep(error.task)
            self._report("failed")
            if not self._submission.outlasts_try:
                self.end_retries(error)
            raise
        self._report("success")

    def timed_out(self, error: AirflowTaskTimeout) -> None:
        """Keep a retry from paying again after Airflow's time-out, which can come at any moment, be it in the POST."""
        if not self._submission.outlasts_try:
            self.end_retries(error)

    def end_retries(self, error: BaseException) -> None:
        """Keep a retry from paying again where no record would hold it back, unless the author has asked for that."""
        if isinstance(error, VideoFailedError) and self._task.on_video_failed == "retry":
            return
        raise AirflowFailException(
            f"{error} But no record outlasts this try: it is not retried, and a clear submits and pays again."
            " DigitalHumanVideoSensor goes on waiting for a video that was accepted."
        ) from None

    def _new_wait(self, video_task_id: str) -> VideoWait:
        task = self._task
        return VideoWait(video_task_id, deadline=time.time() + task.timeout, poll_interval=task.poll_interval)

    def _wait_here(self, wait: VideoWait) -> VideoTask:
        return wait_blocking(
            lambda: self._query(wait.video_task_id), wait, log=self._log.info, sleep=time.sleep, clock=time.time
        )

    def _query(self, video_task_id: str) -> VideoTask:
        if not video_task_id:
            raise QueryError("the ID of the video task is not known here")
        return self._hook.query_video(video_task_id, self._task.video_url)

    def _defer(self, video_task: VideoTask, deadline: float) -> NoReturn:
        task = self._task
        self._log.info("Waiting for video task %s in the triggerer.", video_task.id)
        task.defer(
            method_name="execute_complete",
            **deferral(
                video_task.id,
                digitalhuman_conn_id=task.digitalhuman_conn_id,
                deadline=deadline,
                poll_interval=task.poll_interval,
                submitted_at=video_task.created.timestamp() if video_task.created else None,
                ends_task="create" if ends_from_trigger(task) else None,
            ),
        )
        raise AssertionError("defer() does not return")

    def _report(self, outcome: Literal["success", "failed"]) -> None:
        if not self._task.wait_for_completion:
            return
        known = self.delivery.known() if self.delivery else {}
        report(self._ti, video_metrics(self._ti.try_number, outcome, self.video_task, **self._times(), **known))
