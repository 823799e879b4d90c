"""Which task instance a record belongs to, and the names that follow from it: its Variable, its command lines."""

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

RECORD_KEY: Final = "digitalhuman_submission"
"""Key of the record in the task state store, and the beginning of the keys of its Variables."""
COPIED: Final = "copied"
"""Key in a task state store entry: a Variable holds a copy, which goes when the task has succeeded."""
ADDRESS: Final = "task"
"""Key in a Variable: the task instance's address, for the command line."""
NOTE_SUFFIX: Final = "_late"
"""Ends the key of the Variable with the note of a try that Airflow has given up: what became of its POST."""
_DESCRIPTION: Final = r"DAG (?P<dag>.*), run (?P<run>.*), task (?P<task>.*), map index (?P<index>-?\d+)\."


@dataclass(frozen=True, slots=True, order=True)
class TaskAddress:
    """A task instance, by the four names under which Airflow knows it.

    :param map_index: -1 for a task that is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @classmethod
    def of(cls, ti: Any) -> "TaskAddress":
        """Return the address of Airflow's task instance ``ti``."""
        map_index = getattr(ti, "map_index", -1)
        return cls(ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else map_index)

    @classmethod
    def from_description(cls, description: str) -> "TaskAddress | None":
        """Return the address that the :attr:`description` of a Variable names; None if it names none."""
        found = re.search(_DESCRIPTION, description, re.DOTALL)
        return cls(found["dag"], found["run"], found["task"], int(found["index"])) if found else None

    @classmethod
    def from_json(cls, value: Any) -> "TaskAddress | None":
        """Return the address that :meth:`to_json` has written; None if ``value`` is none."""
        return cls(*value) if isinstance(value, list) and len(value) == len(cls.__slots__) else None

    def to_json(self) -> list[str | int]:
        """Return the address as a Variable holds it."""
        return list(astuple(self))

    @property
    def variable_key(self) -> str:
        """Key of the Variable that holds the record, or its second copy."""
        digest = hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:32]
        return f"{RECORD_KEY}_{digest}"

    @property
    def note_key(self) -> str:
        """Key of the Variable that holds the note of a try that Airflow has given up."""
        return self.variable_key + NOTE_SUFFIX

    @property
    def description(self) -> str:
        """Description of the Variable, for people."""
        shown = f"DAG {self.dag_id}, run {self.run_id}, task {self.task_id}, map index {self.map_index}"
        return f"DigitalHuman submission of {shown}. Do not edit."

    def command(self, verb: str, video_task_id: str = "", options: Sequence[str] = ()) -> str:
        """Return the complete ``digitalhuman-ledger`` command for this task instance, ready to copy.

        :param verb: ``show``, ``release`` or ``adopt``; the last two also clear the task.
        :param video_task_id: the vendor's task ID, for ``adopt``.
        :param options: further options, such as ``--url`` and its value.
        """
        clear = [] if verb == "show" else ["--clear"]
        mapped = ["--map-index", str(self.map_index)] if self.map_index >= 0 else []
        words = [self.dag_id, self.run_id, self.task_id, *([video_task_id] if video_task_id else [])]
        # Without it, what begins with "-" would be taken for an option.
        end = ["--"] if any(word.startswith("-") for word in words) else []
        return shlex.join(["digitalhuman-ledger", verb, *options, *clear, *mapped, *end, *words])

    def __str__(self) -> str:
        return f"{self.dag_id} {self.run_id} {self.task_id}" + (f" [{self.map_index}]" if self.map_index >= 0 else "")
