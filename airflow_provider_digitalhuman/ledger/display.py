"""Rows of the ledger command, and what it has done, as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.correction import Corrected
from airflow_provider_digitalhuman.ledger.listing import shown_note


def row_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about one record, as :meth:`Listing.row` describes it."""
    record = row["record"]
    address = TaskAddress(row["dag_id"], row["run_id"], row["task_id"], row["map_index"])
    state = f"task {row['state']}" if row["state"] else "no such task instance any more"
    if record:
        known = f", video task {record['video_task_id']}" if record.get("video_task_id") else ""
        sent = f"try {record.get('try_number')}, sent {record.get('sent_at')}"
        yield f"{address}: {record.get('stage', 'unreadable')}{known} ({state}, {sent})"
    else:
        yield f"{address}: no record ({state})"
    for line in filter(None, (record.get("sent"), record.get("detail"))):
        yield f"    {line}"
    if row["possible_id"]:
        surely = "It was accepted as" if row["late_id"] else "It may be"
        yield f"    {surely} video task {row['possible_id']}: compare it with the vendor's console."
    if (note := row["orphaned_note"]) is not None:
        yield f"    {shown_note(note)} No try reads it any more: delete the Variable {address.note_key}."
    for command in row["commands"].values():
        yield f"    {command}"


def corrected_lines(corrected: Corrected) -> Iterator[str]:
    """Yield the lines about a change that was carried out."""
    address, change, cleared = corrected.address, corrected.change, corrected.cleared
    if cleared is None:
        yield f"{address}: {change.done}. {corrected.next_step}"
    else:
        yield f"{address}: {change.done} and cleared: {change.follows}."
        yield f"Cleared: {', '.join(cleared.cleared)}."
        if cleared.left_alone:
            yield f"Downstream, but not cleared, because they have run: {', '.join(cleared.left_alone)}."
    if change.given_up:
        yield f"Given up: video task {change.given_up}. If it exists, the next try pays for a second one."
