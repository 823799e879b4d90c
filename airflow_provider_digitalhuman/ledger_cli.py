"""``digitalhuman-ledger``: see which submissions are stuck, and release or adopt them (Airflow 3.3 and later).

It talks to Airflow's own REST API, so it needs no access to the database and obeys Airflow's permissions.
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, LedgerError
from airflow_provider_digitalhuman.ledger import ADOPTED, Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger_address import RECORD_KEY, TaskAddress

if TYPE_CHECKING:
    import requests

OPERATOR: Final = "CreateDigitalHumanVideoOperator"
STUCK: Final = frozenset({Stage.SENDING, Stage.UNKNOWN})
UNDER_WAY: Final = frozenset({"scheduled", "queued", "running", "restarting"})
"""States of a task instance whose POST may still be on its way, or come."""
_PAGE: Final = 100
_TIMEOUT: Final = 30.0


class AirflowApi:
    """The few calls of Airflow's REST API that the commands need.

    :param url: address of the API server, without ``/api/v2``.
    :param token: a bearer token of Airflow's.
    """

    def __init__(self, url: str, token: str | None) -> None:
        import requests

        self._url = url.rstrip("/") + "/api/v2"
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def records(self, dag_id: str | None) -> Iterator[tuple[TaskAddress, str, SubmissionRecord]]:
        """Yield address, state and record of every task instance of the operator that has a record."""
        path = f"/dags/{quote(dag_id, safe='') if dag_id else '~'}/dagRuns/~/taskInstances"
        seen = 0
        while True:
            query = {"operator": OPERATOR, "limit": _PAGE, "offset": seen, "order_by": "id"}
            page = self._call("GET", path, params=query)
            for row in page["task_instances"]:
                address = TaskAddress(row["dag_id"], row["dag_run_id"], row["task_id"], row["map_index"])
                if (record := self.read(address)) is not None:
                    yield address, row["state"] or "no state", record
            seen += len(page["task_instances"])
            if not page["task_instances"] or seen >= page["total_entries"]:
                return

    def read(self, address: TaskAddress) -> SubmissionRecord | None:
        """Return the record of a task instance, None if it has none."""
        entry = self._call("GET", self._entry(address), params={"map_index": address.map_index}, missing=None)
        return None if entry is None else SubmissionRecord.from_json(entry["value"])

    def state(self, address: TaskAddress) -> str:
        """Return the state of a task instance."""
        mapped = f"/{address.map_index}" if address.map_index >= 0 else ""
        return str(self._call("GET", _path(address) + mapped)["state"] or "no state")

    def write(self, address: TaskAddress, record: SubmissionRecord) -> None:
        """Replace the record of a task instance; it never expires."""
        body = {"value": record.to_json(), "expires_at": None}
        self._call("PUT", self._entry(address), params={"map_index": address.map_index}, json=body)

    def _entry(self, address: TaskAddress) -> str:
        return f"{_path(address)}/state-store/{RECORD_KEY}"

    def _call(self, method: str, path: str, **options: Any) -> Any:
        import requests

        tolerated = {404} if "missing" in options else set()
        missing = options.pop("missing", None)
        try:
            # A redirect would make a GET of a PUT, and a success of what was never written.
            response = self._session.request(
                method, self._url + path, timeout=_TIMEOUT, allow_redirects=False, **options
            )
        except requests.RequestException as error:
            raise LedgerError(f"Airflow's API at {self._url} does not answer: {error}.") from error
        if response.status_code in tolerated:
            return missing
        if not 200 <= response.status_code < 300:
            raise LedgerError(_refusal(response))
        return response.json() if response.content else None


def _path(address: TaskAddress) -> str:
    """Return the task instance's path in Airflow's REST API."""
    dag, run, task = (quote(part, safe="") for part in address[:3])
    return f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"


def _refusal(response: "requests.Response") -> str:
    cure = ""
    if response.status_code in (401, 403):
        cure = " Give a token of a user who may do this (--token)."
    elif response.is_redirect:
        cure = f" It redirects to {response.headers['Location'][:200]}: give its own address (--url)."
    return f"Airflow's API answered HTTP {response.status_code}: {response.text[:300]}.{cure}"


def list_records(api: AirflowApi, dag_id: str | None, everything: bool) -> int:
    """Print the records that are stuck, or all; return how many."""
    shown = 0
    for address, state, record in api.records(dag_id):
        if everything or _is_stuck(record, state):
            shown += 1
            known = f", video task {record.video_task_id}" if record.video_task_id else ""
            print(f"{address}: {record.stage}{known} (task {state}, try {record.try_number}, sent {record.sent_at})")
            print(f"    {record.sent}")
    return shown


def show(api: AirflowApi, address: TaskAddress) -> None:
    """Print one record."""
    print(json.dumps(_existing(api, address).to_json(), indent=2, ensure_ascii=False))


def release(api: AirflowApi, address: TaskAddress) -> None:
    """Record that a person found out that nothing was accepted: the next try submits."""
    record = _stuck(api, address)
    api.write(address, record.at(Stage.RELEASED, detail=f"released by {_person()}; before: {record.detail}"))
    print(f"{address}: released. Clear the task: its next try submits.")


def adopt(api: AirflowApi, address: TaskAddress, video_task_id: str) -> None:
    """Record the ID that a person found in the vendor's console: the next try goes on with that video."""
    record = _stuck(api, address)
    video_task_id = video_task_id.strip()
    if not video_task_id:
        raise LedgerError("VIDEO_TASK_ID is empty: give the ID that the vendor's console shows.")
    changes = {"video_task_id": video_task_id, "fingerprint": ADOPTED, "detail": f"adopted by {_person()}"}
    api.write(address, record.at(Stage.SUBMITTED, **changes))
    print(f"{address}: adopted. Clear the task: its next try goes on with video task {video_task_id}.")


def _existing(api: AirflowApi, address: TaskAddress) -> SubmissionRecord:
    record = api.read(address)
    if record is None:
        raise LedgerError(f"{address} has no record of a submission.")
    return record


def _stuck(api: AirflowApi, address: TaskAddress) -> SubmissionRecord:
    record = _existing(api, address)
    state = api.state(address)
    # What a person has said, a person may correct.
    if not _is_stuck(record, state) and record.fingerprint != ADOPTED:
        raise LedgerError(
            f"{address} is not stuck: its record says {record.stage}, and the task is in state {state}."
            " Nothing was changed."
        )
    return record


def _is_stuck(record: SubmissionRecord, state: str) -> bool:
    return record.stage in STUCK and not (record.stage is Stage.SENDING and state in UNDER_WAY)


def _person() -> str:
    return f"{getpass.getuser()} at {datetime.now(UTC).isoformat(timespec='seconds')}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="digitalhuman-ledger", description=__doc__.split("\n")[0].split(": ")[1])
    parser.add_argument(
        "--url", default=os.environ.get("AIRFLOW_API_URL", "http://localhost:8080"), help="Airflow's API server"
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("AIRFLOW_API_TOKEN"),
        help="a bearer token of Airflow's API; better in the environment variable AIRFLOW_API_TOKEN",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the submissions whose outcome is not known")
    listing.add_argument("--dag-id")
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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        api = AirflowApi(options.url, options.token)
        if options.command == "list":
            if not list_records(api, options.dag_id, options.all):
                print("No submission is on record." if options.all else "No submission is stuck.")
            return 0
        address = TaskAddress(options.dag_id, options.run_id, options.task_id, options.map_index)
        if options.command == "adopt":
            adopt(api, address, options.video_task_id)
        else:
            {"show": show, "release": release}[options.command](api, address)
    except DigitalHumanError as error:
        print(f"digitalhuman-ledger: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
