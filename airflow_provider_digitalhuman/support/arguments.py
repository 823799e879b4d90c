"""Checks of a task's arguments, the same for the operators and the sensor; most of them when the DAG file is parsed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from airflow_provider_digitalhuman.exceptions import InvalidRequestError
from airflow_provider_digitalhuman.support.compat import HAS_END_FROM_TRIGGER

DEFAULT_CONN_ID: Final = "digitalhuman_default"
LONGEST_SECONDS: Final = 1e9
"""Some 30 years, after which dates would end."""


@contextmanager
def errors_name_task(task_id: str) -> Iterator[None]:
    """Put the task into the errors of its arguments: of a failed import, Airflow shows little more than the message."""
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError(f"Task {task_id!r}: {error}") from None


def checked_seconds(argument: str, value: Any, *, zero_allowed: bool = False) -> float:
    """Return a duration in seconds.

    :param value: seconds as a number, or a ``timedelta``.
    :raises InvalidRequestError: for anything else.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and not math.isnan(seconds)
    if is_number and (0 < seconds <= LONGEST_SECONDS or (zero_allowed and seconds == 0)):
        return seconds
    raise InvalidRequestError(
        f"{argument}={value!r} cannot be used: give {'no negative' if zero_allowed else 'a positive'} number of seconds"
        f" or a timedelta, {LONGEST_SECONDS:.0f} seconds at most, such as {argument}=600 or"
        f" {argument}=timedelta(minutes=10)."
    )


def checked_video_task_id(value: Any) -> str:
    """Return ``value`` as the ID of a video task, if it can be one.

    A whole number is what ``render_template_as_native_obj=True`` makes of an ID of digits.

    :raises InvalidRequestError: for what a template renders to when the task before has returned none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or value == "None":
        raise InvalidRequestError(
            f"video_task_id={value!r} is no task ID; give the one that CreateDigitalHumanVideoOperator returned."
        )
    return value


def path_text(value: Any) -> Any:
    """Return a ``pathlib.Path`` or an ``ObjectStoragePath`` as its text, and anything else as it is.

    A path object does not keep a ``/`` at its end, so a folder is to be given as text.
    """
    # ObjectStoragePath is an os.PathLike in some versions of Airflow only.
    return str(value) if hasattr(type(value), "joinpath") else value


def refuse_what_only_a_worker_does(task: Any) -> None:
    """Check the arguments of a task that may end in the triggerer.

    :raises InvalidRequestError: if something of it would not be done there, or if the task does not wait at all.
    """
    waits = getattr(task, "wait_for_completion", True)  # a sensor always does
    for option, given in (("wait_for_completion", waits), ("deferrable", task.deferrable)):
        if task.end_from_trigger and not given:
            raise InvalidRequestError(
                f"end_from_trigger=True cannot be used without {option}=True: without it the task never goes to"
                f" the triggerer. Set {option}=True, or leave end_from_trigger out."
            )
    for option in ("destination", "outlets", "on_success_callback"):
        if task.end_from_trigger and getattr(task, option, None):
            raise InvalidRequestError(
                f"end_from_trigger=True cannot be used with {option}, which only a worker handles:"
                " leave one of them out."
            )


def refuse_multiple_outputs(task: Any) -> None:
    """Check a task that returns a string: Airflow would fail it afterwards, at every try.

    :raises InvalidRequestError: if Airflow is to push the keys of what it returns.
    """
    if task.multiple_outputs:
        raise InvalidRequestError(
            "multiple_outputs=True cannot be used: this task returns a string, not a dict. Leave it out, or set"
            " multiple_outputs=False where default_args sets it."
        )


def ends_from_trigger(task: Any) -> bool:
    """Return whether the triggerer is to end ``task``: that was asked for, and nothing that a worker does is lost."""
    if not (task.end_from_trigger and HAS_END_FROM_TRIGGER):
        return False
    return bool(task.do_xcom_push and not task.multiple_outputs)
