"""What a task can read about its present try in Airflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.record import RunFacts


@dataclass(frozen=True, slots=True)
class TryFacts:
    """The present try of a task instance.

    :param address: the task instance.
    :param generation: ``ti.max_tries``: the same over automatic retries; a clear sets it anew, nearly always to
        another number.
    :param try_number: Airflow's.
    :param retries: the task's, in the present DAG file.
    :param run: what is known of the DAG run.
    :param own_code: whether the author's own code submits, which can ask for one video and then for another.
    """

    address: TaskAddress
    generation: int
    try_number: int
    retries: int
    run: RunFacts
    own_code: bool = False

    @property
    def one_of_many(self) -> bool:
        """Whether the task instance can come to stand for another input: one of a mapped task, or own code."""
        return self.own_code or self.address.map_index >= 0

    @classmethod
    def of(cls, context: Mapping[str, Any], retries: int | None, *, own_code: bool = False) -> "TryFacts":
        """Read them from Airflow's context.

        :param retries: the task's, in the present DAG file.
        """
        ti, run = context["ti"], _run_facts(context.get("dag_run"))
        return cls(TaskAddress.of(ti), ti.max_tries, ti.try_number, retries or 0, run, own_code)


def _run_facts(dag_run: Any) -> RunFacts:
    def moment(name: str) -> str | None:
        value = getattr(dag_run, name, None)
        return value.astimezone(UTC).isoformat() if value else None

    return RunFacts(
        started_at=moment("start_date"),
        clears=getattr(dag_run, "clear_number", None),
        run_after=moment("run_after"),
        row=getattr(dag_run, "id", None),
    )
