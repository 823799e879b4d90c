"""What ``adopt`` and ``release`` refuse, and why: no I/O. docs/stuck.md has the table."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.access import RETRYING, Found, Instance
from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.record import Stage, SubmissionRecord

ANSWER_CAN_COME: Final = timedelta(seconds=240)
"""After ``sent_at``: the longest start of a POST (60 s) and the default submit time-out (180 s)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One task instance, looked at once."""

    found: Found
    record: SubmissionRecord
    instance: Instance


def may_be_corrected(record: SubmissionRecord) -> bool:
    """Whether the outcome is not known, or a person has named it and the task has not succeeded with it."""
    return record.is_open or (record.is_adopted and record.stage is not Stage.RETURNED)


def holds_accepted_id(record: SubmissionRecord) -> bool:
    """Whether the vendor's answer named the video, and no person."""
    return record.stage is Stage.SUBMITTED and not record.is_adopted


def named_ids(seen: Seen) -> tuple[str, ...]:
    """Return all IDs that this task instance was given, by the vendor or by a person, each once."""
    noted = seen.found.noted_id
    return tuple(dict.fromkeys((*seen.record.known_ids, *((noted,) if noted else ()))))


def not_stuck(address: TaskAddress, seen: Seen) -> str:
    """Return the sentences about a record that the command leaves alone."""
    return (
        f"{address} is not stuck: its record says {seen.record.stage}, and the task is in state {seen.instance.state}."
        " Nothing was changed."
    )


def refuse_accepted(address: TaskAddress, seen: Seen, force: bool) -> None:
    """Refuse to give up a video that the vendor's answer named.

    :raises LedgerError: without ``force``, or if the task has not failed.
    """
    if force and seen.instance.state == "failed":
        return
    how = "add --force" if seen.instance.state == "failed" else "add --force once the task has failed"
    raise LedgerError(
        f"{not_stuck(address, seen)} To give up video task {seen.record.video_task_id}, {how}: if that video exists,"
        " the next try pays for a second one."
    )


def refuse_active(address: TaskAddress, seen: Seen, clear: bool) -> None:
    """Refuse a task whose try may have read the record, or go on with it, before the change counts.

    :raises LedgerError: if a try is under way, or can start or go on by itself and ``clear`` is False.
    """
    instance = seen.instance
    where = f"its record says {seen.record.stage}, and the task is in state {instance.state}. Nothing was changed."
    if instance.under_way:
        raise LedgerError(
            f"{address} is under way: {where} Wait until it has ended, or mark it failed, and look again."
        )
    if instance.goes_on and not clear:
        why = (
            "its next try can start at any moment" if instance.state == RETRYING else "it goes on with what it has read"
        )
        raise LedgerError(f"{address} is under way: {where} Airflow has not ended it, and {why}: add --clear.")


def refuse_before_answer(address: TaskAddress, record: SubmissionRecord) -> None:
    """Refuse a record whose POST can still be answered.

    :raises LedgerError: with the moment from which it cannot; or if the record does not say when the POST left.
    """
    try:
        sent = datetime.fromisoformat(record.sent_at)
    except ValueError as error:
        raise LedgerError(
            f"The record of {address} does not say when its POST left ({error}), so it is not known whether its answer"
            " can still come. Nothing was changed."
        ) from error
    known = (sent if sent.tzinfo else sent.replace(tzinfo=UTC)).astimezone(UTC) + ANSWER_CAN_COME
    now = datetime.now(UTC)
    if now < known:
        raise LedgerError(
            f"The answer to the POST of {address}, sent at {record.sent_at}, can still come: release works from"
            f" {known:%Y-%m-%d %H:%M:%S} UTC (this machine's clock shows {now:%H:%M:%S}). Nothing was changed. If the"
            " vendor's console shows the video already, adopt its ID now."
        )
