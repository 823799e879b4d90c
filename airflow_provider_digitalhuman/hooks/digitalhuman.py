"""The hook: one Airflow connection, and what the API can be asked through it."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseHook

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.endpoints import create_url, result_url
from airflow_provider_digitalhuman.api.reader import read_create, read_query
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.api.retry_after import pause_in_worker
from airflow_provider_digitalhuman.connection.form import form_widgets, ui_field_behaviour
from airflow_provider_digitalhuman.connection.monitor import RequestMonitor, TransportError
from airflow_provider_digitalhuman.connection.outcome import not_answered, outcome_of
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InvalidConnectionError,
    QueryError,
    RateLimitError,
    ServiceUnreachableError,
    SubmissionUnknownError,
    VideoTaskNotFoundError,
    naming_connection,
)
from airflow_provider_digitalhuman.hooks.observer import (
    LastOutcome,
    SubmissionObserver,
    report,
    write_down,
    write_down_if_possible,
)
from airflow_provider_digitalhuman.hooks.recorded_submission import create_recorded
from airflow_provider_digitalhuman.support.arguments import DEFAULT_CONN_ID, checked_video_task_id
from airflow_provider_digitalhuman.support.compat import heartbeat_timeout
from airflow_provider_digitalhuman.support.connections import connection_is_absent
from airflow_provider_digitalhuman.support.logs import Log
from airflow_provider_digitalhuman.support.retries import final_if_unknown

# connection.transport brings the HTTP library, which parsing a DAG file does not need.
if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection, Context

    from airflow_provider_digitalhuman.connection.transport import Transport

__all__ = ["DigitalHumanHook"]

SUBMIT_BACKOFF: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further POST after one that was provably not accepted."""
LONGEST_START: Final = 60.0
"""Seconds from before the intent is written down to the first byte of the POST; half of Airflow's heartbeat time-out
where that is less. After a longer time Airflow may have given up this try (contract F29)."""
QUERY_BACKOFF: Final = (1.0, 2.0, 4.0)
"""Seconds before each further query after one whose answer was not about the video task."""


class DigitalHumanHook(BaseHook):
    """Submits lip-sync videos to the DigitalHuman API and asks for them.

    Building a hook costs nothing: the connection is read on first use, and one HTTP connection is kept for all calls
    of a thread. Use it as a context manager, or call ``close()``, to end it.

    :param digitalhuman_conn_id: ID of the Airflow connection.
    """

    conn_name_attr = "digitalhuman_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "digitalhuman"
    hook_name = "DigitalHuman"

    def __init__(self, digitalhuman_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.digitalhuman_conn_id = digitalhuman_conn_id
        self._key_refused = False

    def __enter__(self) -> "DigitalHumanHook":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form's standard fields, for Airflow below 3.2 (later: ``get_provider_info``)."""
        return ui_field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's extra fields, for Airflow below 3.2 (later: ``get_provider_info``)."""
        return form_widgets()

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection, read and checked once.

        :raises InvalidConnectionError: naming the field, the value and the cure.
        """
        return ConnectionSettings.from_connection(self._look_up())

    def _look_up(self) -> "Connection":
        try:
            return self.get_connection(self.digitalhuman_conn_id)
        except Exception as error:
            if not connection_is_absent(self.digitalhuman_conn_id):
                raise
            raise InvalidConnectionError(
                f"digitalhuman_conn_id={self.digitalhuman_conn_id!r} cannot be used: Airflow has no connection of this"
                " ID. Create it with the type DigitalHuman, or correct the ID, then clear the task; nothing was sent."
            ) from error

    @cached_property
    def _transport(self) -> "Transport":
        from airflow_provider_digitalhuman.connection.transport import Transport

        return Transport(self.settings)

    def close(self) -> None:
        """End the HTTP connection; the next call opens a new one."""
        transport = self.__dict__.pop("_transport", None)
        if transport is not None:
            transport.close()

    def check_for_triggerer(self) -> None:
        """Refuse a connection that a triggerer could not wait through; to be asked before a video is paid for.

        :raises InvalidConnectionError: for a SOCKS proxy that the connection names; one that the worker's environment
            names need not be the triggerer's.
        """
        if self.settings.proxies:
            self._transport.route.check_for_triggerer()

    def create_video(
        self,
        request: VideoRequest,
        observer: SubmissionObserver | None = None,
        *,
        context: "Context | None" = None,
    ) -> VideoTask:
        """Submit one video: a **paid** POST.

        With ``context`` it is safe to be called from a task with retries: the task instance keeps the same record of
        its submission as ``CreateDigitalHumanVideoOperator`` (docs/ledger.md). A retry, or a clear of a task that has
        failed, then goes on with the video that was paid for: no POST is sent, and its task is returned. A task
        instance has one record, so it can submit one video; map the task for more.

            @task(retries=3)
            def make_video(**context):
                with DigitalHumanHook() as hook:
                    return hook.create_video(request, context=context).id

        Without it, one call sends one POST, and again only after proof that nothing was accepted: where no byte of it
        left this machine (contract F2), or on an explicit 429 (F9); both a bounded number of times. **It remembers
        nothing**: a task that fails after this call, or whose process dies, submits and pays again in its next try.

        :param request: the checked parameters.
        :param observer: is called at each step, so that it can be written down before the next one.
        :param context: the running task's, as Airflow passes it to it; not beside ``observer``.
        :returns: the vendor's task. Its status can already be ``failed`` (F11).
        :raises InvalidRequestError: media that the API cannot reach; nothing was sent.
        :raises InvalidConnectionError: a connection that cannot be used; nothing was sent.
        :raises ServiceUnreachableError: not accepted, another try can help.
        :raises RateLimitError: not accepted, another try can help.
        :raises AuthenticationError: not accepted.
        :raises InsufficientBalanceError: not accepted.
        :raises RequestRefusedError: not accepted.
        :raises SubmissionUnknownError: it may have been accepted and charged; it is never sent again from here. Unless
            an ``observer`` decides about that, it ends Airflow's retries wherever it is raised in a task.
        :raises RequestChangedError: with ``context``: the task instance has paid for another request's video.
        """
        if observer is not None:
            return self._submit(request, observer)
        with final_if_unknown():
            if context is None:
                return self._submit_unrecorded(request)
            return create_recorded(self, request, context)

    def _submit_unrecorded(self, request: VideoRequest) -> VideoTask:
        outcome = LastOutcome()
        try:
            return self._submit(request, outcome)
        except AirflowTaskTimeout as error:
            if outcome.is_open:  # a retry would pay again
                raise SubmissionUnknownError(f"{error} {outcome.known}", video_task_id=outcome.video_task_id) from error
            raise

    def _submit(self, request: VideoRequest, observer: SubmissionObserver) -> VideoTask:
        request.check_reachable_from(self.settings.base_url)
        _ = self._transport  # what is wrong with the connection is reported before anything is written down
        return _with_backoff(
            lambda: self._submit_once(request, observer),
            (ServiceUnreachableError, RateLimitError),
            SUBMIT_BACKOFF,
            self.log,
        )

    def _submit_once(self, request: VideoRequest, observer: SubmissionObserver) -> VideoTask:
        monitor = RequestMonitor(latest_first_byte=time.time() + min(LONGEST_START, heartbeat_timeout() / 2))
        intent_written, task = False, None
        try:
            observer.sending()
            intent_written = True
            answer = self._post(request, monitor)
            with self._refused_key_names_connection():
                task = read_create(answer, request.video_url)
            report(task, observer)  # in here: an interruption just before it must not lose the ID
            return task
        except BaseException as error:
            if task is not None and isinstance(error, Exception):  # the ID could not be written down
                raise
            outcome = task or outcome_of(error, monitor, request)
            # An interruption, and a fault before the request left, are raised as they are: they end the task.
            outcome_is_raised = outcome is error or (monitor.request_left and isinstance(error, Exception))
            if outcome_is_raised and intent_written:
                write_down(outcome, observer)
            else:
                write_down_if_possible(outcome, observer, self.log)
            if outcome is not error and outcome_is_raised and isinstance(outcome, DigitalHumanError):
                raise outcome from error
            raise

    def _post(self, request: VideoRequest, monitor: RequestMonitor) -> Answer:
        try:
            return self._transport.post(create_url(self.settings.base_url), request.body(), monitor)
        except TransportError as error:
            cause = error if error.request_left else None  # the text of what was not sent says it all
            raise not_answered(error, self.settings.base_url) from cause

    def get_video(self, video_task_id: str, sent_video_url: str | None = None) -> VideoTask:
        """Ask for the state of a video: free of charge, repeated a few times where no answer was about it.

        :param video_task_id: the vendor's task ID.
        :param sent_video_url: the clip that the video is made of, where it is known: it is never taken for the result.
        :raises InvalidRequestError: for what can be no task ID; nothing was sent.
        :raises AuthenticationError: after the last attempt.
        :raises VideoTaskNotFoundError: after the last attempt.
        :raises RateLimitError: after the last attempt.
        :raises QueryError: after the last attempt.
        """
        transient = (QueryError, RateLimitError, AuthenticationError, VideoTaskNotFoundError)
        return _with_backoff(
            lambda: self.query_video(video_task_id, sent_video_url), transient, QUERY_BACKOFF, self.log
        )

    def query_video(self, video_task_id: str, sent_video_url: str | None = None) -> VideoTask:
        """Ask once for the state of a video; the caller decides what a failure means.

        After a refused key the next call reads the connection again: the key may have been replaced.

        :param sent_video_url: see :meth:`get_video`.
        :raises InvalidRequestError: for what can be no task ID; nothing was sent.
        :raises AuthenticationError, VideoTaskNotFoundError, RateLimitError, QueryError: see :func:`read_query`.
        """
        asked = checked_video_task_id(video_task_id)
        if self._key_refused:
            self._look_up_again()
        answer = self._query(asked)
        with self._refused_key_names_connection():
            return read_query(answer, asked, sent_video_url)

    @contextmanager
    def _refused_key_names_connection(self) -> Iterator[None]:
        """Name the connection in the error of a refused key; the next query looks the connection up again."""
        try:
            yield
        except AuthenticationError as error:
            self._key_refused = True
            raise naming_connection(error, self.digitalhuman_conn_id) from None

    def _look_up_again(self) -> None:
        try:
            connection = self.get_connection(self.digitalhuman_conn_id)
        except Exception as error:  # also where a backend did not answer; the old key may still be good
            self.log.warning("The connection could not be looked up again: %s", error)
            return
        settings = ConnectionSettings.from_connection(connection)
        self._key_refused = False
        if settings != self.settings:
            self.close()
            self.settings = settings

    def _query(self, video_task_id: str) -> Answer:
        try:
            return self._transport.get(result_url(self.settings.base_url, video_task_id))
        except TransportError as error:
            cure = f" {error.cure}" if error.untrusted else ""  # anything else can pass by itself
            raise QueryError(f"The query for video task {video_task_id} brought no answer: {error}.{cure}") from None

    def test_connection(self) -> tuple[bool, str]:
        """Return what can be known of the connection free of charge: by a query for a task that cannot exist.

        The text is for the connection form, so it uses the form's words, and not the ID of the connection: Airflow
        tests under an ID that it makes up.
        """
        try:
            base_url = self.settings.base_url
            answer = self._transport.get(result_url(base_url, f"airflow-connection-test-{secrets.token_hex(8)}"))
        except InvalidConnectionError as error:
            reason = str(error).removeprefix(f"Connection {self.digitalhuman_conn_id!r}: ")
            return False, reason[:1].upper() + reason[1:]
        except TransportError as error:
            return False, f"There was no answer from {base_url}: {error}. {error.cure}"
        return _judge_test_answer(answer)


def _judge_test_answer(answer: Answer) -> tuple[bool, str]:
    try:
        read_query(answer, "connection test")
    except AuthenticationError:
        return False, f"The server refused the key ({answer.describe()}). Check the field API key."
    except VideoTaskNotFoundError:
        if answer.http_status == 200:
            return True, "The API answered and did not refuse the key. Whether the account can pay is not known."
        return False, f"A server answered, but has no such path ({answer.describe()}): the Base URL seems wrong."
    except DigitalHumanError:
        pass
    return False, f"A server is there, but its answer proves no more than that ({answer.describe()})."


def _with_backoff(
    attempt: Callable[[], VideoTask],
    transient: tuple[type[DigitalHumanError], ...],
    backoff: tuple[float, ...],
    log: Log,
) -> VideoTask:
    """Call ``attempt`` until it returns; after a transient error pause as the server asks, else as in ``backoff``."""
    for seconds in backoff:
        try:
            return attempt()
        except transient as error:
            pause = pause_in_worker(seconds, getattr(error, "retry_after", None))
            if pause is None:
                raise
            log.warning("%s Trying again in %.1f s.", error, pause)
            time.sleep(pause)
    return attempt()
