"""The records of submissions over Airflow's REST API: ``/api/v2`` of Airflow 3, ``/api/v1`` of Airflow 2.11."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger import Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger_address import ADDRESS, COPIED, LATE, RECORD_KEY, TaskAddress

if TYPE_CHECKING:
    import requests

OPERATOR: Final = "CreateDigitalHumanVideoOperator"
OPEN: Final = frozenset({Stage.SENDING, Stage.UNKNOWN})
"""Stages in which nobody can tell what became of the POST."""
UNDER_WAY: Final = frozenset({"scheduled", "queued", "running", "restarting"})
"""States of a task instance whose POST may still be on its way, or come."""
NOT_RUN: Final = frozenset({"upstream_failed", "skipped"})
"""States of a downstream task instance that waited in vain for the one that is cleared."""
MOST_READ: Final = 1000
"""Task instances whose record one ``list`` asks for, one request each."""
_OURS: Final = frozenset({"audio_url", "video_url", "digitalhuman_conn_id"})
"""Template fields by which the operator and its subclasses are known."""
_MAY_BE_STUCK: Final = ("failed", "up_for_retry", "upstream_failed", "skipped", "removed", "none")
_FREE_TEXT: Final = frozenset({"sent", "detail"})
_PAGE: Final = 100
_TIMEOUT: Final = 30.0


class Instance(NamedTuple):
    """A task instance as Airflow shows it.

    :param state: its state; "no state" once it was cleared.
    :param try_number: of its present or last try.
    :param uuid: changes with each hand-over (Airflow 3); empty on Airflow 2.
    """

    state: str
    try_number: int
    uuid: str = ""

    @property
    def under_way(self) -> bool:
        """Whether its POST may still be on its way, or come."""
        return self.state in UNDER_WAY


class Found(NamedTuple):
    """What the stores hold about one task instance.

    :param value: the JSON object that counts: of the task state store, else of the Variable.
    :param variable: the JSON object of the Variable, None if there is none.
    :param late: what a try that Airflow had given up has left, None if there is nothing.
    """

    value: Mapping[str, Any]
    variable: Mapping[str, Any] | None = None
    late: Mapping[str, Any] | None = None

    def with_late(self, late: Any) -> "Found":
        """Return the same, with what a try that was given up has left."""
        return self._replace(late=late if isinstance(late, Mapping) else None)

    def record(self) -> SubmissionRecord:
        """Return the record.

        :raises LedgerError: if the object is not one.
        """
        return SubmissionRecord.from_json(self.value)

    @property
    def late_id(self) -> str | None:
        """The ID that the vendor gave to the very POST of this record, and that its try could not write into it."""
        same = self.late is not None and all(
            self.late.get(name) == self.value.get(name) for name in ("try_number", "sent_at", "fingerprint")
        )
        return _text((self.late or {}).get("video_task_id")) if same else None

    @property
    def possible_id(self) -> str | None:
        """An ID that may be the video's: left by a try that was given up, in a broken answer, or only in the copy."""
        known = (self.late_id, self.value.get("possible_id"), (self.variable or {}).get("video_task_id"))
        return next((one for one in map(_text, known) if one and one != self.value.get("video_task_id")), None)


class Row(NamedTuple):
    """One line of the list; ``instance`` is None where Airflow has no such task instance any more."""

    address: TaskAddress
    found: Found
    instance: Instance | None


class Cleared(NamedTuple):
    """What a clear did, task instances as ``task_id`` or ``task_id [map_index]``."""

    cleared: Sequence[str]
    left_alone: Sequence[str] = ()


class Downstream(NamedTuple):
    """One task instance downstream of the one to clear."""

    task_id: str
    map_index: int
    state: str

    def __str__(self) -> str:
        mapped = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.task_id}{mapped} ({self.state})"


class LedgerAccess(Protocol):
    """What the commands need of Airflow."""

    version: tuple[int, int]
    notes: list[str]
    """What a list could not show, in sentences."""

    def rows(self, dag_id: str | None, everything: bool) -> Iterator[Row]:
        """Yield the records there are; without ``everything`` only where a submission can be stuck."""

    def read(self, address: TaskAddress) -> Found | None:
        """Return what the stores hold, None if there is nothing."""

    def instance(self, address: TaskAddress) -> Instance | None:
        """Return the task instance, None if there is none."""

    def write(self, address: TaskAddress, record: SubmissionRecord, before: Found) -> None:
        """Put ``record`` in the place of ``before``."""

    def plan_clear(self, address: TaskAddress) -> Sequence[Downstream]:
        """Return what is downstream of the task instance; raises where it could not be cleared."""

    def clear(self, address: TaskAddress, behind: Sequence[Downstream]) -> Cleared:
        """Clear the task instance and, of those downstream, what has not run."""


class AirflowApi:
    """Airflow's REST API.

    :param url: address of the API server (Airflow 3) or webserver (2.11), without ``/api/…``.
    :param token: a bearer token, or None.
    :param login: user and password, or None.
    :raises LedgerError: if nothing there answers as Airflow does, or it refuses the login.
    """

    def __init__(self, url: str, token: str | None = None, login: tuple[str, str] | None = None) -> None:
        import requests

        if urlsplit(url).username is not None:
            raise LedgerError("The address of Airflow's API holds a user name: give it by --user and --password.")
        self.notes: list[str] = []
        self._base = url.rstrip("/")
        self._session = requests.Session()
        if token:
            self._session.auth = _Bearer(token)
        self.version = self._find_version()
        if login and not token:
            self._log_in(*login)

    @property
    def _is_v1(self) -> bool:
        return self.version < (3, 0)

    @property
    def _has_state_store(self) -> bool:
        return self.version >= (3, 3)

    # ---------------------------------------------------------------- reading

    def rows(self, dag_id: str | None, everything: bool) -> Iterator[Row]:
        """Yield the records there are; without ``everything`` only where a submission can be stuck."""
        variables, late = self._variables(dag_id)
        if self._has_state_store:
            for address, instance in self._candidates(dag_id, everything):
                found = _found(self._entry(address), variables.pop(address, None), late.get(address))
                if found is not None:
                    yield Row(address, found, instance)
        for address, value in variables.items():
            # With a task state store, the Variable is a copy, and the record itself may have gone on.
            found = _found(self._entry(address) if self._has_state_store else None, value, late.get(address))
            if found is not None:
                yield Row(address, found, self.instance(address))

    def read(self, address: TaskAddress) -> Found | None:
        """Return what the stores hold, None if there is nothing."""
        entry = self._entry(address) if self._has_state_store else None
        found = _found(entry, self._variable(address.variable_key), None)
        if found is None or found.value.get("stage") not in OPEN:
            return found
        return found.with_late(self._variable(address.variable_key + LATE))

    def instance(self, address: TaskAddress) -> Instance | None:
        """Return the task instance, None if there is none."""
        mapped = f"/{address.map_index}" if address.map_index >= 0 else ""
        found = self._call("GET", _path(address) + mapped, missing_is_none=True)
        return None if found is None else _instance(found)

    def _entry(self, address: TaskAddress) -> Any:
        entry = self._call("GET", _entry_path(address), params={"map_index": address.map_index}, missing_is_none=True)
        return None if entry is None else entry["value"]

    def _variable(self, key: str) -> Any:
        found = self._call("GET", f"/variables/{key}", missing_is_none=True)
        return None if found is None else _parsed(found["value"])

    def _variables(self, dag_id: str | None) -> tuple[dict[TaskAddress, Any], dict[TaskAddress, Any]]:
        """Return the records in Variables, and what tries that were given up have left."""
        # The pattern is a relief where the server knows it (Airflow 3); 2.11 has none and shows all Variables.
        query = {"order_by": "key"} | ({} if self._is_v1 else {"variable_key_pattern": f"{RECORD_KEY}_%"})
        rows = self._pages("/variables", "variables", query)
        kept = ((row["key"], _parsed(row["value"]), row.get("description")) for row in rows)
        return sorted_variables(kept, dag_id, self.notes)

    def _candidates(self, dag_id: str | None, everything: bool) -> Iterator[tuple[TaskAddress, Instance]]:
        """Yield task instances that may have a record in the task state store, the newest first."""
        query: dict[str, Any] = {"order_by": "-id"}
        if not everything:
            query["state"] = list(_MAY_BE_STUCK)
        if dag_id is None:
            # A DAG that is named is searched whatever its tasks are: also a @task can submit.
            query["operator"] = sorted(self._operators())
        path = f"/dags/{quote(dag_id, safe='') if dag_id else '~'}/dagRuns/~/taskInstances"
        for number, row in enumerate(self._pages(path, "task_instances", query)):
            if number == MOST_READ:
                self.notes.append(
                    f"Only the newest {MOST_READ} task instances were asked for their record: name a DAG (--dag-id)."
                )
                return
            yield TaskAddress(row["dag_id"], row["dag_run_id"], row["task_id"], row["map_index"]), _instance(row)

    def _operators(self) -> set[str]:
        """Return the class names of the operator and its subclasses in the DAGs of today."""
        names = {OPERATOR}
        for dag in self._pages("/dags", "dags", {"order_by": "dag_id"}):
            tasks = self._call("GET", f"/dags/{quote(dag['dag_id'], safe='')}/tasks", missing_is_none=True)
            for task in (tasks or {"tasks": []})["tasks"]:
                if set(task["template_fields"] or ()) >= _OURS:
                    names.add(task["class_ref"]["class_name"])
        return names

    # ---------------------------------------------------------------- writing

    def write(self, address: TaskAddress, record: SubmissionRecord, before: Found) -> None:
        """Put ``record`` in the place of ``before``: in the task state store, and in the Variable.

        The Variable first: what the first store has not got shows as stuck, so the command can be given again.

        :raises LedgerError: if Airflow refuses it, or has starred out a part of the record that it showed.
        """
        starred = [key for key, value in before.value.items() if "***" in str(value) and key not in _FREE_TEXT]
        if starred:
            raise LedgerError(
                f"Airflow shows the record of {address} with {', '.join(starred)} starred out, so it cannot be written"
                " back. Nothing was changed. Do it where the database is (Airflow 2.11: --local), or change the"
                " connection or the [core] sensitive_var_conn_names that names a part of the record a secret."
            )
        has_copy = before.variable is not None or self.version >= (3, 4)
        if has_copy or not self._has_state_store:
            self._write_variable(address, merged(before.variable or {ADDRESS: list(address)}, record), before.variable)
        if self._has_state_store:
            value = merged(before.value, record) | ({COPIED: True} if has_copy else {})
            body = {"value": value, "expires_at": None}
            self._call("PUT", _entry_path(address), params={"map_index": address.map_index}, json=body)

    def _write_variable(self, address: TaskAddress, value: Mapping[str, Any], before: Any) -> None:
        body = {"key": address.variable_key, "value": json.dumps(value)}
        if before is None:
            self._call("POST", "/variables", json=body | {"description": address.description})
        else:
            # 2.11 knows the field by another name in the mask, and changes nothing that is not in the body.
            mask = {} if self._is_v1 else {"update_mask": "value"}
            self._call("PATCH", f"/variables/{address.variable_key}", params=mask, json=body)

    # ---------------------------------------------------------------- clearing

    def plan_clear(self, address: TaskAddress) -> Sequence[Downstream]:
        """Return what is downstream of the task instance. This changes nothing.

        :raises LedgerError: if Airflow would refuse to clear it, or cannot clear one instance of a mapped task (2.11).
        """
        if self._is_v1 and address.map_index >= 0:
            raise LedgerError(
                "Airflow 2's REST API clears a mapped task only as a whole, with all its videos. Nothing was changed."
                " Use --local where Airflow's database can be reached, or leave --clear out, and clear this one task"
                " instance in the UI."
            )
        body = self.clear_body(address) | {"dry_run": True, "include_downstream": True}
        rows = self._call("POST", _clear_path(address), json=body)["task_instances"]
        if self._is_v1:  # which shows names only
            names = {row["task_id"] for row in rows}
            dag, run = (quote(part, safe="") for part in address[:2])
            path = f"/dags/{dag}/dagRuns/{run}/taskInstances"
            rows = [row for row in self._pages(path, "task_instances", {}) if row["task_id"] in names]
        found = {Downstream(row["task_id"], row["map_index"], row["state"] or "no state") for row in rows}
        return sorted(one for one in found if one.task_id != address.task_id and one.state != "no state")

    def clear(self, address: TaskAddress, behind: Sequence[Downstream]) -> Cleared:
        """Clear the task instance and, of those downstream, what has not run.

        Named one by one: with ``include_downstream`` Airflow would also clear tasks that have succeeded, other videos
        among them, and Airflow 2.11 and 3.0 even the other instances of a mapped task, paid for each.

        :param behind: what :meth:`plan_clear` returned.
        :raises LedgerError: if Airflow refuses it.
        """
        chosen = [one for one in behind if one.state in NOT_RUN]
        if self._is_v1:  # which takes names only
            mixed = {one.task_id for one in behind if one.state not in NOT_RUN}
            chosen = [one for one in chosen if one.task_id not in mixed]
        targets = [_target(address.task_id, address.map_index)]
        # The task itself first: while it waits, Airflow does not set those behind it to upstream_failed again.
        targets += [one.task_id if self._is_v1 else _target(one.task_id, one.map_index) for one in chosen]
        for group in _calls(targets, one_task_each=self.version < (3, 1)):
            self._call(
                "POST", f"/dags/{quote(address.dag_id, safe='')}/clearTaskInstances", json=self._body(address, group)
            )
        own = str(Downstream(address.task_id, address.map_index, "this task"))
        return Cleared([own, *map(str, chosen)], [str(one) for one in behind if one not in chosen])

    def clear_body(self, address: TaskAddress) -> dict[str, Any]:
        """Return the body of the call that clears the task instance alone."""
        return self._body(address, [_target(address.task_id, address.map_index)])

    def clear_command(self, address: TaskAddress) -> str:
        """Return that call as a ``curl`` command, ready to copy."""
        url = self._base + self._tree + _clear_path(address)
        words = ["curl", "-X", "POST", url, "-H", "Content-Type: application/json"]
        body = json.dumps(self.clear_body(address))
        return f'{shlex.join(words)} -H "Authorization: Bearer $AIRFLOW_API_TOKEN" -d {shlex.quote(body)}'

    def _body(self, address: TaskAddress, targets: Sequence[Any]) -> dict[str, Any]:
        body = {
            "dry_run": False,
            "dag_run_id": address.run_id,
            "task_ids": list(targets),
            "only_failed": False,
            "reset_dag_runs": True,
        }
        if self.version >= (3, 2):
            body["prevent_running_task"] = True
        if self.version >= (3, 4):
            body["keep_task_state"] = True
        return body

    # ---------------------------------------------------------------- HTTP

    def _find_version(self) -> tuple[int, int]:
        answers = []
        for self._tree in ("/api/v2", "/api/v1"):
            answers.append(self._send("GET", "/version"))
            if answers[-1].status_code == 200:
                known = _parsed(answers[-1].text)
                found = re.match(r"(\d+)\.(\d+)", str(known.get("version"))) if isinstance(known, dict) else None
                if found:
                    return int(found[1]), int(found[2])
        told = next((answer for answer in answers if answer.status_code != 404), answers[0])
        raise LedgerError(f"{_refusal(told)} At {self._base} no Airflow names its version: check --url.")

    def _log_in(self, user: str, password: str) -> None:
        if self._is_v1:
            self._session.auth = (user, password)
            return
        body = {"username": user, "password": password}
        response = self._send("POST", self._base + "/auth/token", json=body)
        token = _parsed(response.text) if response.ok else None
        if not isinstance(token, dict) or not token.get("access_token"):
            raise LedgerError(
                f"Airflow gives no token for the user {user!r} (HTTP {response.status_code} of"
                f" {self._base}/auth/token): check --user and --password, or give a token (--token)."
            )
        self._session.auth = _Bearer(token["access_token"])

    def _pages(self, path: str, name: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        seen = 0
        while True:
            page = self._call("GET", path, params={**query, "limit": _PAGE, "offset": seen})
            yield from page[name]
            seen += len(page[name])
            if not page[name] or seen >= page["total_entries"]:
                return

    def _call(self, method: str, path: str, *, missing_is_none: bool = False, **options: Any) -> Any:
        response = self._send(method, path, **options)
        if missing_is_none and response.status_code == 404:
            return None
        if not 200 <= response.status_code < 300:
            raise LedgerError(_refusal(response))
        if not response.content:
            return None
        answer = _parsed(response.text)
        if not isinstance(answer, dict):
            raise LedgerError(f"{_refusal(response)} That is no answer of Airflow's API: check --url.")
        return answer

    def _send(self, method: str, path: str, **options: Any) -> "requests.Response":
        import requests

        url = path if path.startswith(self._base) else self._base + self._tree + path
        try:
            # A redirect would make a GET of a PUT, and a success of what was never written.
            return self._session.request(method, url, timeout=_TIMEOUT, allow_redirects=False, **options)
        except (requests.RequestException, ValueError) as error:
            raise LedgerError(
                f"Airflow's API at {self._base} does not answer: {error}. Give its address (--url or AIRFLOW_API_URL)."
            ) from error


class _Bearer:
    """Authentication by token; as ``auth`` of requests, so that no ``.netrc`` replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def merged(before: Mapping[str, Any], record: SubmissionRecord) -> dict[str, Any]:
    """Return the record as JSON, with what else stood beside it."""
    beside = {key: value for key, value in before.items() if key not in (*SubmissionRecord._fields, "version")}
    return beside | record.to_json()


def sorted_variables(
    variables: Iterable[tuple[str, Any, str | None]], dag_id: str | None, notes: list[str]
) -> tuple[dict[TaskAddress, Any], dict[TaskAddress, Any]]:
    """Tell records and late notes apart, and drop all other Variables.

    :param variables: key, parsed value and description of each.
    :param dag_id: of this DAG only, unless None.
    :param notes: gets a sentence about each one that names no task instance.
    """
    records: dict[TaskAddress, Any] = {}
    late: dict[TaskAddress, Any] = {}
    for key, value, description in variables:
        if not key.startswith(f"{RECORD_KEY}_"):
            continue
        address = address_of_variable(key.removesuffix(LATE), value, description)
        if address is None:
            notes.append(unknown_variable(key))
        elif dag_id in (None, address.dag_id):
            (late if key.endswith(LATE) else records)[address] = value
    return records, late


def address_of_variable(key: str, value: Any, description: str | None) -> TaskAddress | None:
    """Return whose record a Variable holds; None where neither its value nor its description names that."""
    task = value.get(ADDRESS) if isinstance(value, Mapping) else None
    named = None
    if isinstance(task, list) and len(task) == len(TaskAddress._fields):
        named = TaskAddress(*task)
    named = named or TaskAddress.from_description(description or "")
    return named if named and named.variable_key == key else None


def unknown_variable(key: str) -> str:
    """Return the sentence about a Variable that does not name its task instance."""
    return f"The Variable {key} names no task instance (its description was edited): look at it in Airflow's UI."


def _found(entry: Any, variable: Any, late: Any) -> Found | None:
    value = variable if entry is None else entry
    if value is None:
        return None
    copy = variable if isinstance(variable, Mapping) else None
    return Found(value if isinstance(value, Mapping) else {"value": value}, copy).with_late(late)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return text


def _instance(row: Mapping[str, Any]) -> Instance:
    return Instance(row["state"] or "no state", row["try_number"] or 0, str(row.get("id") or ""))


def _target(task_id: str, map_index: int) -> Any:
    return [task_id, map_index] if map_index >= 0 else task_id


def _calls(targets: Sequence[Any], *, one_task_each: bool) -> list[list[Any]]:
    """Group what is to be cleared by calls: Airflow 3.0 clears all instances of each task as soon as two are named."""
    if not one_task_each:
        return [list(targets)]
    groups: dict[str, list[Any]] = {}
    for target in targets:
        name = target if isinstance(target, str) else target[0]
        group = groups.setdefault(name, [])
        if target not in group:
            group.append(target)
    return list(groups.values())


def _path(address: TaskAddress) -> str:
    """Return the task instance's path in Airflow's REST API."""
    dag, run, task = (quote(part, safe="") for part in address[:3])
    return f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"


def _clear_path(address: TaskAddress) -> str:
    return f"/dags/{quote(address.dag_id, safe='')}/clearTaskInstances"


def _entry_path(address: TaskAddress) -> str:
    return f"{_path(address)}/state-store/{RECORD_KEY}"


def _refusal(response: "requests.Response") -> str:
    cure = ""
    if response.status_code in (401, 403):
        cure = " Give a token, or user and password, of a user who may do this (--token, or --user and --password)."
        if "/api/v1/" in str(response.url):
            cure += " Where [api] auth_backends takes neither, use --local where Airflow's database can be reached."
    elif response.is_redirect:
        cure = f" It redirects to {response.headers['Location'][:200]}: give its own address (--url)."
    return f"Airflow's API answered HTTP {response.status_code}: {response.text[:300]}.{cure}"
