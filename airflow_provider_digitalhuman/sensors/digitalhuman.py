"""The sensor: waits for a video that another task has submitted."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, WaitTimeoutError
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.support.arguments import (
    checked_seconds,
    checked_video_task_id,
    ends_from_trigger,
    errors_name_task,
    refuse_what_only_a_worker_does,
)
from airflow_provider_digitalhuman.support.compat import HAS_START_FROM_TRIGGER, first_rescheduled_at
from airflow_provider_digitalhuman.support.links import DigitalHumanVideoLink, push_video_link
from airflow_provider_digitalhuman.support.retries import airflow_retries
from airflow_provider_digitalhuman.support.templates import (
    RenderedAsText,
    refuse_number_of_native_rendering,
    template_for_triggerer,
)
from airflow_provider_digitalhuman.triggers.last_look import TRIGGER_FAILED, end_of_wait, event_of_failed_trigger
from airflow_provider_digitalhuman.waiting.decision import (
    Done,
    Failed,
    VideoWait,
    Wait,
    query_outcome,
)

# The trigger brings Airflow's models, and with them SQLAlchemy, which parsing a DAG file does not need.
if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["DigitalHumanVideoSensor"]

RESCHEDULE_INTERVAL: Final = 60.0
"""Seconds between two pokes in reschedule mode, each of which starts a process; Airflow's own default."""
SHORTEST_RESCHEDULE: Final = 10.0
"""Seconds after which a rescheduled task may come back at the earliest: Airflow 3.3 can fail one that comes back
within 5 s, because the end of the worker's process is noticed that late (apache/airflow issue 66374)."""


class DigitalHumanVideoSensor(RenderedAsText, BaseSensorOperator):
    """Wait until a video is made, and return its task (``id``, ``status``, ``video_url``, ``md5``, ...) as a dict.

    The modes ``poke``, ``reschedule`` and deferrable end alike: same result, same errors, same messages. A video that
    the vendor fails, a refused key and an unknown ID fail the task for good; the end of ``timeout`` fails it as it does
    for Airflow's own sensors, without a retry, and a clear goes on waiting. ``soft_fail`` skips in these cases.

    ``timeout`` counts from the start of the try; in reschedule mode from the first poke, over all tries. In reschedule
    mode nothing is remembered between two pokes, so a refused key, an unknown ID and a missing URL are asked about
    again some times (in about 2 minutes at most) before the worker slot is given back.

    :param video_task_id: the vendor's task ID. (templated)
    :param digitalhuman_conn_id: the Airflow connection. (templated)
    :param deferrable: wait in the triggerer, without a worker slot, whatever ``mode`` says; default: Airflow's
        ``[operators] default_deferrable``.
    :param start_from_trigger: with ``deferrable``, go to the triggerer at once, without a worker slot before. Where
        that cannot end well, the task starts in a worker all the same: below Airflow 3.3, if it is mapped or has an
        ``execution_timeout``, and if ``video_task_id`` or ``digitalhuman_conn_id`` is a template with ``xcom_pull`` but
        no ``map_indexes``, for which Airflow's triggerer has no answer. Give the output of the task before
        (``create.output``).
    :param end_from_trigger: with ``deferrable``, let the triggerer end the task when the video is completed, without
        a worker; with ``start_from_trigger``, no worker is needed at all. Airflow then announces no outlets and runs no
        success callback, so ``outlets`` and ``on_success_callback`` are refused. Below Airflow 3.3, and with
        ``do_xcom_push=False``, a worker ends the task.
    :param poke_interval: seconds or a timedelta between two queries. None: 5 to 10 as the vendor asks, growing with the
        task's age; 60 in reschedule mode. A number is taken as it is (10 at least in reschedule mode), except when
        deferrable: then it is spread by a third and grows, up to four times.
    :param timeout: seconds or a timedelta that the sensor waits; None: Airflow's ``[sensors] default_timeout``.
    """

    template_fields: Sequence[str] = ("video_task_id", "digitalhuman_conn_id")
    text_fields = ("video_task_id",)
    operator_extra_links = (DigitalHumanVideoLink(),)
    ui_color = "#e8def8"

    def __init__(
        self,
        *,
        video_task_id: str,
        digitalhuman_conn_id: str = DigitalHumanHook.default_conn_name,
        deferrable: bool | None = None,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        poke_interval: timedelta | float | None = None,
        timeout: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        with errors_name_task(kwargs.get("task_id", "?")):
            interval = None if poke_interval is None else checked_seconds("poke_interval", poke_interval)
            if timeout is not None:
                kwargs["timeout"] = checked_seconds("timeout", timeout, zero_allowed=True)
        super().__init__(poke_interval=RESCHEDULE_INTERVAL if interval is None else interval, **kwargs)
        self.video_task_id = video_task_id
        self.digitalhuman_conn_id = digitalhuman_conn_id
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.end_from_trigger = end_from_trigger
        with errors_name_task(self.task_id):
            refuse_what_only_a_worker_does(self)
        self._own_interval = interval
        self._wait: VideoWait | None = None
        self._hook: DigitalHumanHook
        self._next_in = float(self.poke_interval)
        if start_from_trigger and deferrable and HAS_START_FROM_TRIGGER and self.execution_timeout is None:
            self._start_from_trigger()

    def execute(self, context: "Context") -> Any:
        """Wait in the way that was chosen, and return the completed task as a dict."""
        started_at = time.time()
        if not self.deferrable:
            push_video_link(context["ti"])
        with self._as_a_sensor():
            refuse_number_of_native_rendering(self, "video_task_id", context["ti"].map_index)
        with DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            self._hook = hook
            if not self.deferrable:
                rescheduled_at = first_rescheduled_at(self, context) if self.reschedule else None
                self._wait = self._new_wait(rescheduled_at or started_at)
                return super().execute(context)
            wait = self._new_wait(started_at)
            decision = self._ask(wait)
        if isinstance(decision, Done):
            return decision.task.to_dict()
        self._defer(wait)

    def poke(self, context: "Context") -> PokeReturnValue:
        """Ask for the video once; more often in the last second, and while answers are counted (reschedule mode)."""
        wait = self._wait
        assert wait is not None
        self._next_in = float(self.poke_interval)  # for silent_fail, should there be an error
        decision = self._ask(wait)
        while isinstance(decision, Wait) and ((decision.tentative and self.reschedule) or _in_last_second(wait)):
            time.sleep(decision.seconds)
            decision = self._ask(wait)
        if isinstance(decision, Done):
            return PokeReturnValue(is_done=True, xcom_value=decision.task.to_dict())
        self._next_in = decision.seconds
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: "Context", event: Any) -> dict[str, Any]:
        """Return the completed task that the trigger's event brings, or that a last look finds; raise what ended it."""
        with self._as_a_sensor(), DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            task = end_of_wait(event, str(self.video_task_id), lambda: hook.query_video(self.video_task_id))
        self.log.info("Video task %s is completed.", task.id)
        return task.to_dict()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: "Context") -> Any:
        """Go on after a deferral, also where the triggerer could not wait to the end (Airflow calls this).

        A skip keeps its message, which ``soft_fail`` takes away.
        """
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            if next_method != TRIGGER_FAILED:
                own = skip.__cause__ if isinstance(skip.__cause__, AirflowSkipException) else skip
                raise own from own.__cause__
        except Exception:
            if next_method != TRIGGER_FAILED:
                raise
        return self.execute_complete(context, event_of_failed_trigger(next_kwargs, str(self.video_task_id)))

    def _new_wait(self, started_at: float) -> VideoWait:
        interval = self._own_interval
        if self.reschedule and not self.deferrable:
            interval = interval or RESCHEDULE_INTERVAL
        with self._as_a_sensor():
            return VideoWait(
                checked_video_task_id(self.video_task_id),
                deadline=started_at + self.timeout,
                started_at=started_at,
                poll_interval=interval,
                fixed_interval=interval is not None and not self.deferrable,
            )

    def _ask(self, wait: VideoWait) -> Wait | Done:
        with self._as_a_sensor():
            outcome = query_outcome(lambda: self._hook.query_video(wait.video_task_id))
            decision = wait.judge(outcome, time.time())
            if isinstance(decision, Failed):
                raise decision.error
        if isinstance(decision, Wait) and decision.message:
            self.log.info("%s", decision.message)
        return decision

    def _defer(self, wait: VideoWait) -> NoReturn:
        from airflow_provider_digitalhuman.triggers.digitalhuman import deferral

        self.log.info("Video task %s is awaited in the triggerer.", wait.video_task_id)
        self.defer(
            method_name="execute_complete",
            **deferral(
                wait.video_task_id,
                digitalhuman_conn_id=self.digitalhuman_conn_id,
                deadline=wait.deadline,
                poll_interval=self._own_interval,
                ends_task="sensor" if ends_from_trigger(self) else None,
            ),
        )

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        shortest = SHORTEST_RESCHEDULE if self.reschedule else 0.0
        own = super()._get_next_poke_interval(*args, **kwargs) if self.exponential_backoff else 0.0
        return max(self._next_in, own, shortest)

    @contextmanager
    def _as_a_sensor(self) -> Iterator[None]:
        """Raise errors as Airflow's own sensors do, in all modes."""
        try:
            with airflow_retries():
                yield
        except WaitTimeoutError as error:
            self._skip_if_wanted(error, self.soft_fail or self.never_fail)
            raise AirflowSensorTimeout(str(error)) from None
        except AirflowFailException as error:
            self._skip_if_wanted(error, self.soft_fail or self.never_fail)
            raise
        except DigitalHumanError as error:
            self._skip_if_wanted(error, self.never_fail)
            raise

    def _skip_if_wanted(self, error: Exception, wanted: bool) -> None:
        if wanted:
            raise AirflowSkipException(str(error)) from error

    def _start_from_trigger(self) -> None:
        from airflow_provider_digitalhuman.triggers.digitalhuman import start_trigger_args

        video_task_id = template_for_triggerer(self.video_task_id)
        digitalhuman_conn_id = template_for_triggerer(self.digitalhuman_conn_id)
        if video_task_id is not None and digitalhuman_conn_id is not None:
            self.start_from_trigger = True
            self.start_trigger_args = start_trigger_args(
                video_task_id=video_task_id,
                digitalhuman_conn_id=digitalhuman_conn_id,
                timeout=self.timeout,
                poll_interval=self._own_interval,
                ends_task="sensor" if ends_from_trigger(self) else None,
            )


def _in_last_second(wait: VideoWait) -> bool:
    # The time-out of Airflow itself has another message, which does not say what becomes of the video.
    return wait.deadline - time.time() < 1.0
