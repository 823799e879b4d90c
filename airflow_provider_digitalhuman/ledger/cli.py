"""``digitalhuman-ledger``: see which submissions are stuck, release or adopt them, and clear their tasks.

It talks to Airflow's own REST API, so it needs no access to the database and obeys Airflow's permissions. With Airflow
2.11 it can also use the database of the Airflow that is installed where it runs (``--local``).
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, LedgerError
from airflow_provider_digitalhuman.ledger.access import (
    Cleared,
    Downstream,
    Found,
    Instance,
    LedgerAccess,
    Row,
)
from airflow_provider_digitalhuman.ledger.address import LATE, TaskAddress
from airflow_provider_digitalhuman.ledger.record import ADOPTED, Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger.rest import AirflowApi
from airflow_provider_digitalhuman.ledger.rules import (
    Seen,
    holds_accepted_id,
    may_be_corrected,
    named_ids,
    not_stuck,
    refuse_accepted,
    refuse_active,
    refuse_before_answer,
)

PLACEHOLDER: Final = "VIDEO_TASK_ID"
"""In the commands to copy, where only a person can know the ID."""
_URL: Final = "http://localhost:8080"


class Ledger:
    """The commands.

    :param access: Airflow.
    :param options: options that the commands to copy need besides their own, such as ``--url`` and its value.
    :param as_json: print JSON instead of text.
    """

    def __init__(self, access: LedgerAccess, options: Sequence[str] = (), as_json: bool = False) -> None:
        self._access = access
        self._options = options
        self._as_json = as_json

    def list_records(self, dag_id: str | None, everything: bool) -> None:
        """Print the records that are stuck, or all, and with these the notes that no try reads any more."""
        shown: list[dict[str, Any]] = []
        for row in self._access.rows(dag_id, everything):
            record = self._readable(row)
            state = row.instance.state if row.instance else None
            if everything or record is None or _is_stuck(record, state):
                shown.append(self._described(row.address, row.found, record, row.instance))
                if not self._as_json:
                    _print_row(shown[-1])
        for note in self._access.notes:
            print(f"digitalhuman-ledger: {note}", file=sys.stderr)
        if self._as_json:
            print(json.dumps(shown, indent=2, ensure_ascii=False))
        elif not shown:
            print("No submission is on record." if everything else "No submission is stuck.")

    def show(self, address: TaskAddress) -> None:
        """Print one record.

        :raises LedgerError: if there is none, or it cannot be read.
        """
        found = self._existing(address)
        described = self._described(address, found, found.record(), self._access.instance(address))
        if self._as_json:
            print(json.dumps(described, indent=2, ensure_ascii=False))
            return
        _print_row(described)
        print(json.dumps(described["record"], indent=2, ensure_ascii=False))

    def release(self, address: TaskAddress, clear: bool, force: bool = False) -> None:
        """Record that a person found out that nothing was accepted: the next try submits.

        :param force: also where the record holds the ID of an accepted video, and the task has failed.
        :raises LedgerError: if it may not be released now, or a try came in between.
        """
        seen = self._seen(address)
        forced = holds_accepted_id(seen.record)
        if forced:
            refuse_accepted(address, seen, force)
        elif not may_be_corrected(seen.record):
            raise LedgerError(not_stuck(address, seen))
        refuse_active(address, seen, clear)
        noted = seen.found.late_id
        if noted and not (forced and noted == seen.record.video_task_id):
            raise LedgerError(
                f"{address} was accepted as video task {noted}: its try left that note after Airflow had given it up."
                f" Nothing was changed. Go on with that video: {address.command('adopt', noted, self._options)}"
            )
        if not forced:
            refuse_before_answer(address, seen.record)
        record = seen.record.at(
            Stage.RELEASED,
            video_task_id=None,
            video_task=None,
            completed=None,
            earlier=named_ids(seen),
            detail=f"released by {_person()}; before: {seen.record.detail}",
        )
        self._carry_out(address, seen, record, _Step("released", "its next try submits"), clear)
        if forced:
            print(
                f"Given up: video task {seen.record.video_task_id}. If it exists, the next try pays for a second one."
            )

    def adopt(self, address: TaskAddress, video_task_id: str, clear: bool) -> None:
        """Record the ID that a person found in the vendor's console: the next try goes on with that video.

        :raises LedgerError: if the ID is none, it may not be adopted now, or a try came in between.
        """
        video_task_id = video_task_id.strip()
        if video_task_id in ("", PLACEHOLDER):
            problem = "is empty" if not video_task_id else f"is still the word {PLACEHOLDER}"
            raise LedgerError(f"VIDEO_TASK_ID {problem}: give the ID that the vendor's console shows.")
        seen = self._seen(address)
        record = seen.record
        # A person may also go on with a paid video although the request has changed, or although it was released
        # before the note came that names it.
        own = record.stage is Stage.SUBMITTED and record.video_task_id == video_task_id
        noted = record.stage is Stage.RELEASED and seen.found.late_id == video_task_id
        if not (may_be_corrected(record) or own or noted):
            raise LedgerError(not_stuck(address, seen))
        refuse_active(address, seen, clear)
        if record.video_task_id not in (None, video_task_id):  # what is known is known of the other one
            record = record.at(Stage.SUBMITTED, video_task=None, completed=None)
        adopted = record.at(
            Stage.SUBMITTED,
            video_task_id=video_task_id,
            fingerprint=ADOPTED,
            earlier=tuple(one for one in named_ids(seen) if one != video_task_id),
            detail=f"adopted by {_person()}",
        )
        step = _Step("adopted", f"its next try goes on with video task {video_task_id}")
        self._carry_out(address, seen, adopted, step, clear)

    # ---------------------------------------------------------------- reading

    def _readable(self, row: Row) -> SubmissionRecord | None:
        try:
            return row.found.record() if row.found.value else None
        except LedgerError as error:
            self._access.notes.append(f"{row.address}: {error}")
            return None

    def _existing(self, address: TaskAddress) -> Found:
        found = self._access.read(address)
        if found is None:
            raise LedgerError(
                f"{address} has no record of a submission. Check the three names and --map-index, and that --url is"
                " the Airflow of this task."
            )
        return found

    def _seen(self, address: TaskAddress) -> Seen:
        found = self._existing(address)
        record, instance = found.record(), self._access.instance(address)
        if instance is None:
            raise LedgerError(
                f"{address} is no task instance of Airflow any more, so nothing can go on with its video. Nothing was"
                f" changed. Its record can be deleted: the Variable {address.variable_key}."
            )
        return Seen(found, record, instance)

    def _described(
        self, address: TaskAddress, found: Found, record: SubmissionRecord | None, instance: Instance | None
    ) -> dict[str, Any]:
        stuck = record is not None and _is_stuck(record, instance.state if instance else None)
        possible = found.possible_id if stuck else None
        verbs = ["show"] if found.value else []
        if stuck and instance is not None:
            verbs += ["release", "adopt"]
        elif record is not None and record.stage is Stage.RELEASED and found.late_id:  # the note came afterwards
            verbs, possible = [*verbs, "adopt"], found.late_id
        return {
            **address._asdict(),
            "state": instance.state if instance else None,
            "stuck": stuck,
            "possible_id": possible,
            "late_id": found.late_id if stuck else None,
            "record": dict(found.value),
            "orphaned_note": dict(found.late) if found.late is not None and found.has_orphan else None,
            "commands": {
                verb: address.command(verb, "" if verb != "adopt" else possible or PLACEHOLDER, self._options)
                for verb in verbs
            },
        }

    # ---------------------------------------------------------------- writing

    def _carry_out(
        self, address: TaskAddress, seen: Seen, record: SubmissionRecord, step: "_Step", clear: bool
    ) -> None:
        """Write the record, and clear the task; look before and after whether a try came in between.

        No store can rule that out. A task that waits goes on with what it has read until it is cleared, so it is
        cleared at once, and looked at afterwards; any other one is cleared only if no try came.
        """
        behind = self._access.plan_clear(address) if clear else None
        if (found := self._access.read(address)) != seen.found or self._access.instance(address) != seen.instance:
            now = "gone" if found is None else found.value.get("stage")
            raise LedgerError(f"A try of {address} came in between (the record is now {now}). Nothing was changed.")
        self._access.write(address, record, seen.found)
        cleared = None
        if behind is not None and seen.instance.waits:
            cleared = self._clear(address, seen, step, behind)
            self._look_after_clear(address, seen, record, step)
        else:
            self._look_after_write(address, seen, record)
        if seen.found.late is not None:
            self._drop_note(address)
        if behind is None:
            print(f"{address}: {step.done}. {self._next_step(address, step)}")
            return
        cleared = cleared or self._clear(address, seen, step, behind)
        print(f"{address}: {step.done} and cleared: {step.follows}.")
        print(f"Cleared: {', '.join(cleared.cleared)}.")
        if cleared.left_alone:
            print(f"Downstream, but not cleared, because they have run: {', '.join(cleared.left_alone)}.")

    def _clear(self, address: TaskAddress, seen: Seen, step: "_Step", behind: Sequence[Downstream]) -> Cleared:
        try:
            return self._access.clear(address, behind)
        except LedgerError as error:
            until = " Until it is cleared, it goes on with what it has read." if seen.instance.waits else ""
            raise LedgerError(
                f"{address} was {step.done}, but not cleared: {error}{until} {self._next_step(address, step)}"
            ) from error

    def _look_after_write(self, address: TaskAddress, seen: Seen, record: SubmissionRecord) -> None:
        after, instance = self._access.read(address), self._access.instance(address)
        kept = None if after is None else after.record()
        if kept is None or _essence(kept) != _essence(record) or instance != seen.instance:
            raise LedgerError(
                f"A TRY CAME IN BETWEEN: {record.stage} was written for {address}, and at the same moment Airflow went"
                f" on with the task. {_now(kept, instance)} It was not cleared. Wait until the task has ended, and look"
                f" again: {self._show(address)}"
            )
        self._refuse_new_note(address, seen, after, "It was not cleared.")

    def _look_after_clear(self, address: TaskAddress, seen: Seen, record: SubmissionRecord, step: "_Step") -> None:
        after, instance = self._access.read(address), self._access.instance(address)
        if instance is not None and instance.is_still(seen.instance):
            raise LedgerError(
                f"{address} was {step.done}, and Airflow accepted the clear, but the task was not cleared: in state"
                f" {instance.state}, it still waits for what it had read before. {self._next_step(address, step)}"
            )
        kept = None if after is None else after.record()
        if kept is None or _essence(kept) != _essence(record):
            raise LedgerError(
                f"A TRY CAME IN BETWEEN: {record.stage} was written for {address}, the task was cleared, and a try has"
                f" written over it. {_now(kept, instance)} Wait until the task has ended, and look again:"
                f" {self._show(address)}"
            )
        self._refuse_new_note(address, seen, after, "It was cleared.")

    def _refuse_new_note(self, address: TaskAddress, seen: Seen, after: Found | None, cleared: str) -> None:
        if after is not None and after.late not in (None, seen.found.late):
            look = address.command("adopt", after.late_id, self._options) if after.late_id else self._show(address)
            raise LedgerError(
                f"A NOTE CAME IN BETWEEN: the record of {address} was written, and at the same moment a try that"
                f" Airflow had given up left a note. {_shown_note(after.late)} {cleared} Look at it: {look}"
            )

    def _drop_note(self, address: TaskAddress) -> None:
        try:
            self._access.drop_late(address)
        except LedgerError as error:  # it is about a POST that is settled, so no try reads it
            key = address.variable_key + LATE
            print(f"digitalhuman-ledger: the Variable {key} is no longer needed: {error}", file=sys.stderr)

    def _next_step(self, address: TaskAddress, step: "_Step") -> str:
        return f"{self._access.how_to_clear(address)}: {step.follows}."

    def _show(self, address: TaskAddress) -> str:
        return address.command("show", options=self._options)


class _Step(NamedTuple):
    """What a command does to a record, in words: what was done, and what the next try does."""

    done: str
    follows: str


def _essence(record: SubmissionRecord) -> tuple[Any, ...]:
    # Texts apart: Airflow's API stars out in a Variable what it takes for a secret.
    return record.stage, record.video_task_id, record.fingerprint, record.try_number, record.sent_at


def _now(record: SubmissionRecord | None, instance: Instance | None) -> str:
    state, stage = instance.state if instance else "gone", record.stage if record else "gone"
    return f"Its state is now {state}, its record {stage}."


def _is_stuck(record: SubmissionRecord, state: str | None) -> bool:
    under_way = state is not None and Instance(state, 0).under_way
    return record.is_open and not (record.stage is Stage.SENDING and under_way)


def _shown_note(note: Mapping[str, Any]) -> str:
    known = f", video task {note['video_task_id']}" if note.get("video_task_id") else ""
    tried = f"try {note.get('try_number')}, sent {note.get('sent_at')}"
    return f"The note says {note.get('stage', 'nothing that can be read')}{known} ({tried})."


def _print_row(row: dict[str, Any]) -> None:
    record = row["record"]
    address = TaskAddress(*(row[name] for name in TaskAddress._fields))
    state = f"task {row['state']}" if row["state"] else "no such task instance any more"
    if record:
        known = f", video task {record['video_task_id']}" if record.get("video_task_id") else ""
        sent = f"try {record.get('try_number')}, sent {record.get('sent_at')}"
        print(f"{address}: {record.get('stage', 'unreadable')}{known} ({state}, {sent})")
    else:
        print(f"{address}: no record ({state})")
    for line in filter(None, (record.get("sent"), record.get("detail"))):
        print(f"    {line}")
    if row["possible_id"]:
        surely = "It was accepted as" if row["late_id"] else "It may be"
        print(f"    {surely} video task {row['possible_id']}: compare it with the vendor's console.")
    if (note := row["orphaned_note"]) is not None:
        key = address.variable_key + LATE
        print(f"    {_shown_note(note)} No try reads it any more: delete the Variable {key}.")
    for command in row["commands"].values():
        print(f"    {command}")


def _person() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # no LOGNAME, and a uid without an entry in passwd, as in OpenShift
        name = f"uid {os.getuid()}"
    return f"{name} at {datetime.now(UTC).isoformat(timespec='seconds')}"


def _connection_options(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    group = parser.add_argument_group("Airflow")
    for name, what in (
        ("--url", f"API server (2.11: webserver); default: AIRFLOW_API_URL, else {_URL}"),
        ("--token", "bearer token; better in the environment variable AIRFLOW_API_TOKEN"),
        ("--user", "user name in place of a token; default: AIRFLOW_API_USER"),
        ("--password", "its password; better in the environment variable AIRFLOW_API_PASSWORD"),
    ):
        group.add_argument(name, help=what, default=default)
    group.add_argument(
        "--local",
        action="store_true",
        default=default or False,
        help="Airflow 2.11 only: use the database of the Airflow installed here instead of its REST API",
    )


def _parser() -> argparse.ArgumentParser:
    described = "See which submissions are stuck, release or adopt them, and clear their tasks."
    parser = argparse.ArgumentParser(prog="digitalhuman-ledger", description=described)
    _connection_options(parser)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the submissions whose outcome is not known")
    listing.add_argument("--dag-id", help="of this DAG only, and whatever class its tasks are of")
    listing.add_argument("--all", action="store_true", help="every submission on record")
    for name, what in (
        ("show", "one record"),
        ("release", "nothing was accepted: let the next try submit"),
        ("adopt", "the vendor has accepted it under this ID: let the next try go on with it"),
    ):
        command = commands.add_parser(name, help=what)
        for argument in ("dag_id", "run_id", "task_id"):
            command.add_argument(argument)
        if name == "adopt":
            command.add_argument("video_task_id")
        command.add_argument("--map-index", type=int, default=-1)
        if name != "show":
            command.add_argument("--clear", action="store_true", help="clear the task in the same call")
        if name == "release":
            command.add_argument(
                "--force",
                action="store_true",
                help="also give up a video that was accepted, of a failed task: if it exists, the next try pays again",
            )
    for name, command in commands.choices.items():
        _connection_options(command, default=argparse.SUPPRESS)
        if name in ("list", "show"):
            command.add_argument("--output", choices=("text", "json"), default="text")
    return parser


def _access(options: argparse.Namespace) -> tuple[LedgerAccess, list[str]]:
    """Return Airflow, and the options that lead there as they were given, without secrets."""
    if options.local:
        from airflow_provider_digitalhuman.ledger.local import LocalAirflow

        return LocalAirflow(), ["--local"]
    user = options.user or os.environ.get("AIRFLOW_API_USER")
    password = options.password or os.environ.get("AIRFLOW_API_PASSWORD")
    token = options.token or os.environ.get("AIRFLOW_API_TOKEN")
    if bool(user) != bool(password) and not token:
        raise LedgerError("--user and --password belong together: give both, or a token (--token).")
    url = options.url or os.environ.get("AIRFLOW_API_URL") or _URL
    access = AirflowApi(url, token, (user, password) if user and password else None)
    return access, ["--url", options.url] if options.url else []


def _run(options: argparse.Namespace) -> None:
    for name in ("dag_id", "run_id", "task_id", "video_task_id"):
        if getattr(options, name, None) in ([], "--"):  # argparse takes each "--" for its own
            raise LedgerError(f"{name.upper()} cannot be '--': give it as Airflow or the vendor's console shows it.")
    access, repeated = _access(options)
    ledger = Ledger(access, repeated, getattr(options, "output", "text") == "json")
    if options.command == "list":
        ledger.list_records(options.dag_id, options.all)
        return
    address = TaskAddress(options.dag_id, options.run_id, options.task_id, options.map_index)
    match options.command:
        case "show":
            ledger.show(address)
        case "release":
            ledger.release(address, options.clear, options.force)
        case "adopt":
            ledger.adopt(address, options.video_task_id, options.clear)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except DigitalHumanError as error:
        print(f"digitalhuman-ledger: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
