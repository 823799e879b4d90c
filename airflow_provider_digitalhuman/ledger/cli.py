"""``digitalhuman-ledger``: see which submissions are stuck, release or adopt them, and clear their tasks.

It talks to Airflow's own REST API, so it needs no access to the database and obeys Airflow's permissions. With Airflow
2.11 it can also use the database of the Airflow that is installed where it runs (``--local``).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, LedgerError
from airflow_provider_digitalhuman.ledger.access import LedgerAccess
from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.arguments import (
    COMMANDS,
    CONNECTION,
    DEFAULT_URL,
    DESCRIPTION,
    LOCAL,
    Argument,
)
from airflow_provider_digitalhuman.ledger.correction import Corrected, Correction
from airflow_provider_digitalhuman.ledger.display import corrected_lines, row_lines
from airflow_provider_digitalhuman.ledger.listing import Listing
from airflow_provider_digitalhuman.ledger.rest import AirflowApi

_PROGRAM: Final = "digitalhuman-ledger"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return _exit_code(_parser().parse_args(arguments))


def run_from_airflow(options: argparse.Namespace) -> None:
    """Run ``airflow digitalhuman …``.

    :raises SystemExit: with the exit code.
    """
    options.command, options.local = options.subcommand, False
    sys.exit(_exit_code(options))


def _exit_code(options: argparse.Namespace) -> int:
    try:
        _run(options)
    except DigitalHumanError as error:
        _warn(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=DESCRIPTION)
    _add((*CONNECTION, LOCAL), parser.add_argument_group("Airflow"))
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help)
        _add(command.arguments, own)
        # Also behind the command; what is not given there must not replace what was given before it.
        _add((*CONNECTION, LOCAL), own.add_argument_group("Airflow"), default=argparse.SUPPRESS)
    return parser


def _add(arguments: Sequence[Argument], group: Any, **options: Any) -> None:
    for argument in arguments:
        group.add_argument(argument.name, **{**argument.options, **options})


def _run(options: argparse.Namespace) -> None:
    for name in ("dag_id", "run_id", "task_id", "video_task_id"):
        if getattr(options, name, None) in ([], "--"):  # argparse takes each "--" for its own
            raise LedgerError(f"{name.upper()} cannot be '--': give it as Airflow or the vendor's console shows it.")
    access, repeated = _access(options)
    try:
        _carry_out(options, access, repeated)
    finally:
        for note in access.notes:
            _warn(note)


def _carry_out(options: argparse.Namespace, access: LedgerAccess, repeated: Sequence[str]) -> None:
    as_json = options.output == "json"
    match options.command:
        case "list":
            _list(Listing(access, repeated), options, as_json)
        case "show":
            _show(Listing(access, repeated).row(_address(options)), as_json)
        case "release":
            correction = Correction(access, _address(options), repeated)
            _print_corrected(correction.release(clear=options.clear, force=options.force), as_json)
        case "adopt":
            correction = Correction(access, _address(options), repeated)
            _print_corrected(correction.adopt(options.video_task_id, clear=options.clear), as_json)


def _list(listing: Listing, options: argparse.Namespace, as_json: bool) -> None:
    shown = []
    for row in listing.rows(options.dag_id, options.all):
        shown.append(row)
        if not as_json:
            print(*row_lines(row), sep="\n", flush=True)
    if as_json:
        _print_json(shown)
    elif not shown:
        print("No submission is on record." if options.all else "No submission is stuck.")


def _show(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(row)
        return
    print(*row_lines(row), sep="\n")
    _print_json(row["record"])


def _print_corrected(corrected: Corrected, as_json: bool) -> None:
    if not as_json:
        print(*corrected_lines(corrected), sep="\n")
        return
    cleared = corrected.cleared
    _print_json(
        {
            **asdict(corrected.address),
            "done": corrected.change.done,
            "record": corrected.change.record.to_json(),
            "given_up": corrected.change.given_up,
            "cleared": None if cleared is None else list(cleared.cleared),
            "not_cleared": None if cleared is None else list(cleared.left_alone),
            "next_step": corrected.next_step,
        }
    )


def _access(options: argparse.Namespace) -> tuple[LedgerAccess, list[str]]:
    """Return Airflow, and the options that lead there as they were given, without secrets."""
    if options.local:
        from airflow_provider_digitalhuman.ledger.local import LocalAirflow  # which imports Airflow

        return LocalAirflow(), ["--local"]
    user = options.user or os.environ.get("AIRFLOW_API_USER")
    password = options.password or os.environ.get("AIRFLOW_API_PASSWORD")
    token = options.token or os.environ.get("AIRFLOW_API_TOKEN")
    if bool(user) != bool(password) and not token:
        raise LedgerError("--user and --password belong together: give both, or a token (--token).")
    url = options.url or os.environ.get("AIRFLOW_API_URL") or DEFAULT_URL
    access = AirflowApi(url, token, (user, password) if user and password else None)
    return access, ["--url", options.url] if options.url else []


def _address(options: argparse.Namespace) -> TaskAddress:
    return TaskAddress(options.dag_id, options.run_id, options.task_id, options.map_index)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _warn(text: str) -> None:
    print(f"{_PROGRAM}: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
