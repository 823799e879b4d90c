"""What is done to one video, and at which point of which try; and what must come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from tests.chaos.environment import Environment

CREATE: Final = "chaos_create"
BLOCKING: Final = "chaos_blocking"
DEFERRED: Final = "chaos_deferred"
ONCE: Final = "chaos_once"
"""Without retries: what a killed try leaves behind stays as it is."""
ONCE_COPY: Final = "chaos_once_copy"
"""Without retries, and the record has a second copy, as on Airflow 3.4."""
UNMAPPED: Final = "chaos_unmapped"
RESET: Final = "chaos_reset"
"""Clears a run of ``CREATE`` by ``TriggerDagRunOperator(reset_dag_run=True)``."""

ALL_DAGS: Final = (CREATE, BLOCKING, DEFERRED, ONCE, ONCE_COPY, UNMAPPED, RESET)

# Points of a try, in the order in which they are reached. Each stands on one side of something that cannot be undone.
BEFORE_INTENT: Final = "before write of sending"
AFTER_INTENT: Final = "after write of sending"
POST: Final = "POST"
ANSWERED: Final = "answer read"
BEFORE_RECORD: Final = "before write of submitted"
AFTER_RECORD: Final = "after write of submitted"
AFTER_RELEASE: Final = "after write of released"
BEFORE_UNKNOWN: Final = "before write of unknown"
QUERY: Final = "query"
RETURNING: Final = "returning"
BEFORE_RETURNED: Final = "before write of returned"

# Actions that the try does itself, at once ...
KILL_TASK: Final = "kill task"
KILL_SUPERVISOR: Final = "kill supervisor"
KILL_BOTH: Final = "kill both"
# ... and those that it requests from the fault injector; it waits until they have begun (fault_injector.py).
KILL_TASK_ONCE_ACCEPTED: Final = "kill task once accepted"
KILL_SUPERVISOR_ONCE_ACCEPTED: Final = "kill supervisor once accepted"
KILL_BOTH_ONCE_ACCEPTED: Final = "kill both once accepted"
REFUSE_WRITES: Final = "refuse writes"
RESTART_API_SERVER: Final = "restart API server"
PAUSE_API_SERVER: Final = "pause API server"
PAUSE_DATABASE: Final = "pause database"
KILL_SCHEDULER: Final = "kill scheduler"
KILL_WORKER_HOST: Final = "kill scheduler and all workers"
FREEZE: Final = "freeze until retried"
SUSPEND: Final = "suspend for 30 s"
CLEAR: Final = "clear"


class Step(NamedTuple):
    """One action, done to the first try that reaches the point.

    :param at: the point.
    :param action: what happens there.
    """

    at: str
    action: str


@dataclass(frozen=True)
class Video:
    """One logical video: what is requested, and what goes wrong.

    :param steps: actions around the provider's own steps; each is done once, and one at a time.
    :param faults: what the sandbox injects for this video.
    :param connection: suffix of the Airflow connection, by try; the last one holds for all later tries.
    :param renders_differently: whether the rendered URL is another one in each try.
    :param certain: whether all steps are reached and all faults are injected. False where chance decides.
    :param expected: what must be true of this video, where that is not what holds for its whole case.
    """

    steps: Sequence[Step] = ()
    faults: Sequence[Mapping[str, Any]] = ()
    connection: Sequence[str] = ("default",)
    renders_differently: bool = False
    certain: bool = True
    expected: Expected | None = None

    @property
    def refusals(self) -> frozenset[str]:
        """The faults of this video whose answer proves that nothing was accepted."""
        return frozenset(fault["fault"] for fault in self.faults if _proves_refusal(fault))


def _proves_refusal(fault: Mapping[str, Any]) -> bool:
    if fault["fault"] in ("http_status", "redirect"):
        return fault.get("when", "before") == "before" and fault.get("status") in (308, 400, 405, 413, 415, 422)
    return fault["fault"] in (
        *("rate_limited", "login_failed", "unauthorized", "payment_required"),
        *("no_balance", "error_code", "no_handler"),
    )


class Range(NamedTuple):
    """From the least to the most that is right."""

    least: int
    most: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.least <= number <= self.most

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"


def exactly(number: int) -> Range:
    """Neither more nor less."""
    return Range(number, number)


@dataclass(frozen=True)
class Expected:
    """What must be true of each video of a case, in addition to the invariants that hold for all.

    :param state: final state of the task instance; None where either is right.
    :param posts: number of create POSTs that reached the sandbox.
    :param charges: number of charges.
    :param tries: number of tries that came to the operator.
    :param known: whether every accepted ID must be known to Airflow. Where a process ended before it had the answer,
        the ID cannot be known; then the task must have reported that the outcome is unknown.
    :param log_text: a text that the last try's log must hold.
    :param names_id: whether the last try's log must name each ID that was paid for.
    """

    state: Literal["success", "failed"] | None
    posts: Range
    charges: Range
    tries: Range
    known: bool = True
    log_text: str = ""
    names_id: bool = False

    def in_tries(self, number: int) -> Expected:
        """Return the same, but with this number of tries."""
        return replace(self, tries=exactly(number))


class Least(NamedTuple):
    """How much must have happened where chance decides.

    :param steps: over all videos of a case.
    :param faults: over all videos of a case.
    """

    steps: int
    faults: int


NOTHING_BY_CHANCE: Final = Least(0, 0)
UNKNOWN_TEXT: Final = "whether it was accepted is not known"


Action = Callable[["Environment", str, str], None]
"""Called with the environment, and the IDs of a DAG and of its run."""


@dataclass(frozen=True)
class Case:
    """Some videos that the same thing is done to, as one run of one DAG.

    :param name: a row of the table.
    :param expected: of each video that has no expectation of its own.
    :param make: the video with this number.
    :param afterwards: what is done when the run has ended, after which it runs again and must end again. Each of
        these clears the run, or creates it again.
    :param meanwhile: what is done from outside during the run.
    :param component_kills: how often ``meanwhile`` kills a component.
    :param phase: cases of one phase run at the same time, and phases one after the other.
    :param least: where chance decides (``Video.certain`` is False): how many of all steps, and of all videos' faults,
        must have happened at least.
    """

    name: str
    expected: Expected
    make: Callable[[int, random.Random], Video]
    count: int = 3
    dag_id: str = CREATE
    seed: int = 0
    afterwards: Sequence[Action] = ()
    meanwhile: Action | None = None
    component_kills: int = 0
    phase: str = "tasks"
    least: Least = NOTHING_BY_CHANCE

    def videos(self) -> list[Video]:
        """All videos of the case; the same ones each time."""
        rng = random.Random(f"{self.name} {self.seed}")
        return [self.make(number, rng) for number in range(self.count)]


def always(video: Video) -> Callable[[int, random.Random], Video]:
    """The same for each video of a case."""
    return lambda _number, _rng: video
