"""The records of submissions over Airflow's REST API: ``/api/v2`` of Airflow 3, ``/api/v1`` of Airflow 2.11."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.access import (
    NO_STATE,
    NOT_RUN,
    Cleared,
    Downstream,
    Found,
    Instance,
    Row,
    found_in,
    merged,
    sorted_variables,
    without_record,
)
from airflow_provider_digitalhuman.ledger.address import ADDRESS, COPIED, RECORD_KEY, TaskAddress
from airflow_provider_digitalhuman.ledger.http import AirflowHttp, parsed
from airflow_provider_digitalhuman.ledger.record import SubmissionRecord

OPERATOR: Final = "CreateDigitalHumanVideoOperator"
MOST_READ: Final = 1000
"""Task instances whose record one ``list`` asks for, one request each."""
_OURS: Final = frozenset({"audio_url", "video_url", "digitalhuman_conn_id"})
"""Template fields by which the operator and its subclasses are known."""
_MAY_BE_STUCK: Final = ("failed", "up_for_retry", "upstream_failed", "skipped", "removed", "none")
_FREE_TEXT: Final = frozenset({"sent", "detail"})


class AirflowApi:
    """Airflow's REST API.

    :param url: address of the API server (Airflow 3) or webserver (2.11), without ``/api/…``.
    :param token: a bearer token, or None.
    :param login: user and password, or None.
    :raises LedgerError: if nothing there answers as Airflow does, or it refuses the login.
    """

    def __init__(self, url: str, token: str | None = None, login: tuple[str, str] | None = None) -> None:
        self._http = AirflowHttp(url, token, login)
        self.version = self._http.version
        self.notes: list[str] = []

    @property
    def _has_state_store(self) -> bool:
        return self.version >= (3, 3)

    # ---------------------------------------------------------------- reading

    def rows(self, dag_id: str | None, everything: bool) -> Iterator[Row]:
        """Yield the records there are; without ``everything`` only where a submission can be stuck.

        With it also notes where there is no record any more.
        """
        variables, notes = self._variables(dag_id)
        if self._has_state_store:
            for address, instance in self._candidates(dag_id, everything):
                found = found_in(self._entry(address), variables.pop(address, None), notes.get(address))
                if found is not None:
                    notes.pop(address, None)
                    yield Row(address, found, instance)
        for address, value in variables.items():
            # With a task state store, the Variable is a copy, and the record itself may have gone on.
            found = found_in(self._entry_if_any(address), value, notes.pop(address, None))
            if found is not None:
                yield Row(address, found, self.instance(address))
        for address, note in notes.items() if everything else ():
            found = found_in(self._entry_if_any(address), None, note) or without_record(note)
            yield Row(address, found, self.instance(address))

    def read(self, address: TaskAddress) -> Found | None:
        """Return what the stores hold, None if there is no record."""
        copy, note = (self._variable(key) for key in (address.variable_key, address.note_key))
        return found_in(self._entry_if_any(address), copy, note)

    def instance(self, address: TaskAddress) -> Instance | None:
        """Return the task instance, None if there is none."""
        mapped = f"/{address.map_index}" if address.map_index >= 0 else ""
        found = self._http.call("GET", _path(address) + mapped, missing_is_none=True)
        return None if found is None else _instance(found)

    def _entry(self, address: TaskAddress) -> Any:
        where = {"map_index": address.map_index}
        entry = self._http.call("GET", _entry_path(address), params=where, missing_is_none=True)
        return None if entry is None else entry["value"]

    def _entry_if_any(self, address: TaskAddress) -> Any:
        return self._entry(address) if self._has_state_store else None

    def _variable(self, key: str) -> Any:
        found = self._http.call("GET", f"/variables/{key}", missing_is_none=True)
        return None if found is None else parsed(found["value"])

    def _variables(self, dag_id: str | None) -> tuple[dict[TaskAddress, Any], dict[TaskAddress, Any]]:
        """Return the records in Variables, and the notes of tries that were given up."""
        # Airflow 3 filters by the pattern; 2.11 has none and shows all Variables.
        query = {"order_by": "key"} | ({} if self._http.is_v1 else {"variable_key_pattern": f"{RECORD_KEY}_%"})
        rows = self._http.pages("/variables", "variables", query)
        kept = ((row["key"], parsed(row["value"]), row.get("description")) for row in rows)
        return sorted_variables(kept, dag_id, self.notes)

    def _candidates(self, dag_id: str | None, everything: bool) -> Iterator[tuple[TaskAddress, Instance]]:
        """Yield task instances that may have a record in the task state store, the newest first.

        No request finds the records themselves, and any class of task can submit, by the hook. So all are asked; those
        of the operator and its subclasses first, as there is a limit.
        """
        query: dict[str, Any] = {"order_by": "-id"} | ({} if everything else {"state": list(_MAY_BE_STUCK)})
        queries = [query] if dag_id else [query | {"operator": sorted(self._operators())}, query]
        path = f"/dags/{quote(dag_id, safe='') if dag_id else '~'}/dagRuns/~/taskInstances"
        seen: set[TaskAddress] = set()
        for row in (row for one in queries for row in self._http.pages(path, "task_instances", one)):
            address = TaskAddress(row["dag_id"], row["dag_run_id"], row["task_id"], row["map_index"])
            if address in seen:
                continue
            if len(seen) == MOST_READ:
                self.notes.append(
                    f"Only {MOST_READ} task instances were asked for their record: those of the operator and its"
                    " subclasses first, then the newest. Name a DAG (--dag-id)."
                )
                return
            seen.add(address)
            yield address, _instance(row)

    def _operators(self) -> set[str]:
        """Return the class names of the operator and its subclasses in the DAGs of today."""
        names = {OPERATOR}
        for dag in self._http.pages("/dags", "dags", {"order_by": "dag_id"}):
            tasks = self._http.call("GET", f"/dags/{quote(dag['dag_id'], safe='')}/tasks", missing_is_none=True)
            for task in (tasks or {"tasks": []})["tasks"]:
                if set(task["template_fields"] or ()) >= _OURS:
                    names.add(task["class_ref"]["class_name"])
        return names

    # ---------------------------------------------------------------- writing

    def write(self, address: TaskAddress, record: SubmissionRecord, before: Found) -> None:
        """Put ``record`` in the place of ``before``: in the task state store, and in the Variable.

        The Variable first: what the first store has not got shows as stuck, so the command can be given again. Each is
        read right before it is written: no request of Airflow's compares and sets.

        :raises LedgerError: if a try has changed it meanwhile, Airflow refuses it, or has masked a part of the
            record that it showed.
        """
        masked = [key for key, value in before.value.items() if "***" in str(value) and key not in _FREE_TEXT]
        if masked:
            raise LedgerError(
                f"Airflow shows the record of {address} with {', '.join(masked)} masked (***), so it cannot be written"
                " back. Nothing was changed. Do it where the database is (Airflow 2.11: --local), or change the"
                " connection or the [core] sensitive_var_conn_names that names a part of the record a secret."
            )
        has_copy = before.variable is not None or self.version >= (3, 4)
        came = f"A try of {address} came in between"
        if has_copy or not self._has_state_store:
            if self.read(address) != before:
                raise LedgerError(f"{came}. Nothing was changed.")
            beside = before.variable or {ADDRESS: address.to_json()}
            self._write_variable(address, merged(beside, record), before.variable)
        if self._has_state_store:
            entry = self._entry(address)
            if (before.variable if entry is None else entry) != before.value:
                copied = " The copy in its Variable was." if has_copy else ""
                raise LedgerError(f"{came}: its entry in the task state store was not changed.{copied} Look again.")
            value = merged(before.value, record) | ({COPIED: True} if has_copy else {})
            body = {"value": value, "expires_at": None}
            self._http.call("PUT", _entry_path(address), params={"map_index": address.map_index}, json=body)

    def _write_variable(self, address: TaskAddress, value: Mapping[str, Any], before: Any) -> None:
        body = {"key": address.variable_key, "value": json.dumps(value)}
        if before is None:
            self._http.call("POST", "/variables", json=body | {"description": address.description})
        else:
            # 2.11 has another name for the field in the mask, and changes nothing that is not in the body.
            mask = {} if self._http.is_v1 else {"update_mask": "value"}
            self._http.call("PATCH", f"/variables/{address.variable_key}", params=mask, json=body)

    def delete_note(self, address: TaskAddress) -> None:
        """Remove the note of a try that Airflow had given up.

        :raises LedgerError: if Airflow refuses it.
        """
        self._http.call("DELETE", f"/variables/{address.note_key}", missing_is_none=True)

    # ---------------------------------------------------------------- clearing

    def plan_clear(self, address: TaskAddress) -> Sequence[Downstream]:
        """Return what is downstream of the task instance. This changes nothing.

        :raises LedgerError: if Airflow would refuse to clear it, or cannot clear one instance of a mapped task (2.11).
        """
        if self._http.is_v1 and address.map_index >= 0:
            raise LedgerError(
                "Airflow 2's REST API clears a mapped task only as a whole, with all its videos. Nothing was changed."
                " Use --local where Airflow's database can be reached, or leave --clear out, and clear this one task"
                " instance in the UI."
            )
        target = _target(address.task_id, address.map_index)
        body = self._body(address, [target]) | {"dry_run": True, "include_downstream": True}
        rows = self._http.call("POST", _clear_path(address), json=body)["task_instances"]
        if self._http.is_v1:  # which shows names only
            names = {row["task_id"] for row in rows}
            dag, run = (quote(part, safe="") for part in (address.dag_id, address.run_id))
            path = f"/dags/{dag}/dagRuns/{run}/taskInstances"
            rows = [row for row in self._http.pages(path, "task_instances", {}) if row["task_id"] in names]
        found = {Downstream(row["task_id"], row["map_index"], row["state"] or NO_STATE) for row in rows}
        return sorted(one for one in found if one.task_id != address.task_id and one.state != NO_STATE)

    def clear(self, address: TaskAddress, behind: Sequence[Downstream]) -> Cleared:
        """Clear the task instance and, of those downstream, what has not run.

        Named one by one: with ``include_downstream`` Airflow would also clear tasks that have succeeded, other videos
        among them, and Airflow 2.11 and 3.0 even the other instances of a mapped task, paid for each.

        :param behind: what :meth:`plan_clear` returned.
        :raises LedgerError: if Airflow refuses it.
        """
        chosen = [one for one in behind if one.state in NOT_RUN]
        if self._http.is_v1:  # which takes names only
            mixed = {one.task_id for one in behind if one.state not in NOT_RUN}
            chosen = [one for one in chosen if one.task_id not in mixed]
        targets = [_target(address.task_id, address.map_index)]
        # The task itself first: while it waits, Airflow does not set those behind it to upstream_failed again.
        targets += [one.task_id if self._http.is_v1 else _target(one.task_id, one.map_index) for one in chosen]
        for group in _calls(targets, one_task_each=self.version < (3, 1)):
            self._http.call("POST", _clear_path(address), json=self._body(address, group))
        own = str(Downstream(address.task_id, address.map_index, "this task"))
        return Cleared([own, *map(str, chosen)], [str(one) for one in behind if one not in chosen])

    def how_to_clear(self, address: TaskAddress) -> str:
        """Return how a person clears the task instance: from 3.4 on also as a ``curl`` command, ready to copy."""
        if self.version < (3, 4):
            return "Clear the task"
        words = [
            "curl",
            "-X",
            "POST",
            self._http.address_of(_clear_path(address)),
            "-H",
            "Content-Type: application/json",
        ]
        body = json.dumps(self._body(address, [_target(address.task_id, address.map_index)]))
        call = f'{shlex.join(words)} -H "Authorization: Bearer $AIRFLOW_API_TOKEN" -d {shlex.quote(body)}'
        return f'Clear the task, and tick "Keep task state" in the dialog, or send\n    {call}\n'

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


def _instance(row: Mapping[str, Any]) -> Instance:
    return Instance(row["state"] or NO_STATE, row["try_number"] or 0, str(row.get("id") or ""))


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
    dag, run, task = (quote(part, safe="") for part in (address.dag_id, address.run_id, address.task_id))
    return f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"


def _clear_path(address: TaskAddress) -> str:
    return f"/dags/{quote(address.dag_id, safe='')}/clearTaskInstances"


def _entry_path(address: TaskAddress) -> str:
    return f"{_path(address)}/state-store/{RECORD_KEY}"
