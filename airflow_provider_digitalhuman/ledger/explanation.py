"""What a person reads in the log of a task that may not submit: short lines, what to do first."""

import re
from collections.abc import Iterator

from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.decision import OUTCOME_UNKNOWN
from airflow_provider_digitalhuman.ledger.record import SubmissionRecord
from airflow_provider_digitalhuman.support.compat import LEDGER_OPTIONS
from airflow_provider_digitalhuman.support.log_lines import short_lines

_INDENT = "    "


def explain_unknown(
    record: SubmissionRecord, address: TaskAddress, *, try_number: int, outlasts_try: bool
) -> Iterator[str]:
    """Yield the lines for a POST of which it is not known whether it was accepted.

    :param record: with the reason in ``detail``.
    :param try_number: of the present try.
    :param outlasts_try: whether the next try finds the record.
    """
    look = f"What to do: look in the vendor's console for a video task of {record.sent_at}"
    if outlasts_try:
        adopt = address.command("adopt", record.possible_id or "VIDEO_TASK_ID", LEDGER_OPTIONS)
        yield f"{look}."
        yield "If it is there, go on with it:"
        yield adopt
        yield "If it is not there after five minutes, let the next try submit:"
        yield address.command("release", options=LEDGER_OPTIONS)
        listing = " ".join(["digitalhuman-ledger list", *LEDGER_OPTIONS])
        yield f"Both commands are also in the output of: {listing}"
        yield "Clearing the task without one of the two submits nothing (docs/ledger.md)."
    else:
        yield f"{look},"
        yield "before you clear this task: that submits again."
    yield f"What happened: {OUTCOME_UNKNOWN}."
    detail = record.detail or f"The process of try {record.try_number} ended during the POST."
    yield from short_lines(detail, _INDENT)
    yield f"Try {record.try_number} sent it at {record.sent_at}:"
    yield from _parts(record.sent)
    if record.try_number != try_number:
        # Airflow can give up a try that runs: what it received after that is only in its log.
        yield f"The log of try {record.try_number} may name the ID."


def explain_change(record: SubmissionRecord, address: TaskAddress, *, why: str, asked: str) -> Iterator[str]:
    """Yield the lines for a task instance that has paid for the video of another request.

    :param why: as decided.
    :param asked: what the present try would send, and where to.
    """
    yield "What to do: to make, and pay for, the video of the present request, clear the task."
    yield "To go on with the video that is paid for:"
    yield address.command("adopt", record.video_task_id or "", LEDGER_OPTIONS)
    yield "What happened: nothing is submitted, and no video is returned."
    yield from short_lines(f"{why[:1].upper()}{why[1:]}.", _INDENT)
    yield f"Paid for: video task {record.video_task_id}. Try {record.try_number} sent it at {record.sent_at}:"
    yield from _parts(record.sent)
    yield "Asked for now:"
    yield from _parts(asked)


def _parts(sent: str) -> Iterator[str]:
    """Yield what was sent, one URL a line."""
    for part in re.split(r" (?=(?:\w+=|to )https?:)", sent):
        yield _INDENT + part
