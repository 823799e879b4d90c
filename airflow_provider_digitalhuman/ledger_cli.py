"""``digitalhuman-ledger``: see which submissions are stuck, release or adopt them, and clear their tasks.

It talks to Airflow's own REST API, so it needs no access to the database and obeys Airflow's permissions. With Airflow
2.11 it can also use the database of the Airflow that is installed where it runs (``--local``).
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, LedgerError
from airflow_provider_digitalhuman.ledger import ADOPTED, Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger_address import TaskAddress
from airflow_provider_digitalhuman.ledger_api import OPEN, AirflowApi, Downstream, Found, Instance, LedgerAccess, Row

PLACEHOLDER: Final = "VIDEO_TASK_ID"
"""In the commands to copy, where only a person can know the ID."""
_URL: Final = "http://localhost:8080"


class _Seen(NamedTuple):
    """One task instance, looked at once."""

    found: Found
    record: SubmissionRecord
    instance: Instance


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
        """Print the records that are stuck, or all."""
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

    def release(self, address: TaskAddress, clear: bool) -> None:
        """Record that a person found out that nothing was accepted: the next try submits.

        :raises LedgerError: if the submission is not stuck, or a try came in between.
        """
        seen = self._stuck(address)
        if seen.found.late_id:
            raise LedgerError(
                f"{address} was accepted as video task {seen.found.late_id}: its try left that note after Airflow had"
                " given it up. Nothing was changed. Go on with that video:"
                f" {address.command('adopt', seen.found.late_id, self._options)}"
            )
        detail = f"released by {_person()}; before: {seen.record.detail}"
        behind = self._access.plan_clear(address) if clear else None
        self._write(address, seen, seen.record.at(Stage.RELEASED, detail=detail))
        self._finish(address, "released", "its next try submits", behind)

    def adopt(self, address: TaskAddress, video_task_id: str, clear: bool) -> None:
        """Record the ID that a person found in the vendor's console: the next try goes on with that video.

        :raises LedgerError: if the ID is none, the submission is not stuck, or a try came in between.
        """
        video_task_id = video_task_id.strip()
        if video_task_id in ("", PLACEHOLDER):
            said = "is empty" if not video_task_id else f"is still the word {PLACEHOLDER}"
            raise LedgerError(f"VIDEO_TASK_ID {said}: give the ID that the vendor's console shows.")
        seen = self._stuck(address, video_task_id)
        record = seen.record.at(
            Stage.SUBMITTED, video_task_id=video_task_id, fingerprint=ADOPTED, detail=f"adopted by {_person()}"
        )
        if seen.record.video_task_id not in (None, video_task_id):  # what is known is known of the other one
            record = record.at(Stage.SUBMITTED, video_task=None, completed=None)
        behind = self._access.plan_clear(address) if clear else None
        self._write(address, seen, record)
        self._finish(address, "adopted", f"its next try goes on with video task {video_task_id}", behind)

    # ---------------------------------------------------------------- reading

    def _readable(self, row: Row) -> SubmissionRecord | None:
        try:
            return row.found.record()
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

    def _stuck(self, address: TaskAddress, video_task_id: str = "") -> _Seen:
        found = self._existing(address)
        record, instance = found.record(), self._access.instance(address)
        if instance is None:
            raise LedgerError(
                f"{address} is no task instance of Airflow any more, so nothing can go on with its video. Nothing was"
                f" changed. Its record can be deleted: the Variable {address.variable_key}."
            )
        # What a person has said, a person may correct; and go on with a paid video although the request has changed.
        own = record.stage is Stage.SUBMITTED and record.video_task_id == video_task_id
        if record.stage not in OPEN and record.fingerprint != ADOPTED and not own:
            raise LedgerError(
                f"{address} is not stuck: its record says {record.stage}, and the task is in state {instance.state}."
                " Nothing was changed."
            )
        if instance.under_way:
            raise LedgerError(
                f"{address} is under way: its record says {record.stage}, and the task is in state {instance.state}."
                " Nothing was changed. Wait until it has ended, or mark it failed, and look again."
            )
        return _Seen(found, record, instance)

    def _described(
        self, address: TaskAddress, found: Found, record: SubmissionRecord | None, instance: Instance | None
    ) -> dict[str, Any]:
        stuck = record is not None and _is_stuck(record, instance.state if instance else None)
        verbs = ["show"] if not stuck or instance is None else ["show", "release", "adopt"]
        possible = found.possible_id if stuck else None
        ids = {"adopt": possible or PLACEHOLDER}
        return {
            **address._asdict(),
            "state": instance.state if instance else None,
            "stuck": stuck,
            "possible_id": possible,
            "late_id": found.late_id if stuck else None,
            "record": dict(found.value),
            "commands": {verb: address.command(verb, ids.get(verb, ""), self._options) for verb in verbs},
        }

    # ---------------------------------------------------------------- writing

    def _write(self, address: TaskAddress, seen: _Seen, record: SubmissionRecord) -> None:
        """Write the record, and look before and after whether a try came in between: no store can rule that out."""
        if (found := self._access.read(address)) != seen.found or self._access.instance(address) != seen.instance:
            now = "gone" if found is None else found.value.get("stage")
            raise LedgerError(f"A try of {address} came in between (the record is now {now}). Nothing was changed.")
        self._access.write(address, record, seen.found)
        after, instance = self._access.read(address), self._access.instance(address)
        kept = None if after is None else after.record()
        if kept is None or _essence(kept) != _essence(record) or instance != seen.instance:
            raise LedgerError(
                f"A TRY CAME IN BETWEEN: {record.stage} was written for {address}, and at the same moment Airflow went"
                f" on with the task. Its state is now {instance.state if instance else 'gone'}, its record"
                f" {kept.stage if kept else 'gone'}. It was not cleared. Wait until the task has ended, and look again:"
                f" {address.command('show', options=self._options)}"
            )

    def _finish(self, address: TaskAddress, done: str, follows: str, behind: Sequence[Downstream] | None) -> None:
        if behind is None:
            print(f"{address}: {done}. {self._how_to_clear(address)}: {follows}.")
            return
        try:
            cleared = self._access.clear(address, behind)
        except LedgerError as error:
            raise LedgerError(
                f"{address} was {done}, but not cleared: {error} {self._how_to_clear(address)}: {follows}."
            ) from error
        print(f"{address}: {done} and cleared: {follows}.")
        print(f"Cleared: {', '.join(cleared.cleared)}.")
        if cleared.left_alone:
            print(f"Downstream, but not cleared, because they have run: {', '.join(cleared.left_alone)}.")

    def _how_to_clear(self, address: TaskAddress) -> str:
        if self._access.version < (3, 4) or not isinstance(self._access, AirflowApi):
            return "Clear the task"
        return (
            'Clear the task, and tick "Keep task state" in the dialog, or send\n'
            f"    {self._access.clear_command(address)}\n"
        )


def _essence(record: SubmissionRecord) -> tuple[Any, ...]:
    # Texts apart: Airflow's API stars out in a Variable what it takes for a secret.
    return record.stage, record.video_task_id, record.fingerprint, record.try_number, record.sent_at


def _is_stuck(record: SubmissionRecord, state: str | None) -> bool:
    under_way = state is not None and Instance(state, 0).under_way
    return record.stage in OPEN and not (record.stage is Stage.SENDING and under_way)


def _print_row(row: dict[str, Any]) -> None:
    record = row["record"]
    address = TaskAddress(*(row[name] for name in TaskAddress._fields))
    known = f", video task {record['video_task_id']}" if record.get("video_task_id") else ""
    state = f"task {row['state']}" if row["state"] else "no such task instance any more"
    sent = f"try {record.get('try_number')}, sent {record.get('sent_at')}"
    print(f"{address}: {record.get('stage', 'unreadable')}{known} ({state}, {sent})")
    for line in filter(None, (record.get("sent"), record.get("detail"))):
        print(f"    {line}")
    if row["possible_id"]:
        surely = "It was accepted as" if row["late_id"] else "It may be"
        print(f"    {surely} video task {row['possible_id']}: compare it with the vendor's console.")
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
    for name, command in commands.choices.items():
        _connection_options(command, default=argparse.SUPPRESS)
        if name in ("list", "show"):
            command.add_argument("--output", choices=("text", "json"), default="text")
    return parser


def _access(options: argparse.Namespace) -> tuple[LedgerAccess, list[str]]:
    """Return Airflow, and the options that lead there as they were given, without secrets."""
    if options.local:
        from airflow_provider_digitalhuman.ledger_local import LocalAirflow

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
            ledger.release(address, options.clear)
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
