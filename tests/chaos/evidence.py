"""Evidence that the actions and faults of a case have happened: without it, a suite that does nothing would pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.chaos.plan import CLEAR, Case, Video

ABSENT: Final = "did not happen"
"""Part of each violation about something that has not happened; the self-test searches for it."""


class StepTrace(NamedTuple):
    """What the signals folder holds about a step.

    :param at: the point where a try requested it.
    :param action: the requested action.
    :param carried_out: whether it was done, too.
    """

    at: str
    action: str
    carried_out: bool


@dataclass(frozen=True)
class Evidence:
    """What has happened to one video.

    :param steps: trace of each step that a try requested, by its number in the plan.
    :param injected: how often the sandbox injected each fault of the plan.
    :param rendered: the audio URLs that the tries were given.
    :param connections: the connections that the tries were given.
    :param clears: how often the run was cleared.
    """

    steps: Mapping[int, StepTrace] = field(default_factory=dict)
    injected: Sequence[int] = ()
    rendered: frozenset[str] = frozenset()
    connections: frozenset[str] = frozenset()
    clears: int = 0

    @property
    def steps_done(self) -> int:
        """How many steps were carried out."""
        return sum(trace.carried_out for trace in self.steps.values())

    @property
    def faults_injected(self) -> int:
        """How many of the video's faults were injected, each counted once."""
        return sum(times > 0 for times in self.injected)


def absent(video: Video, evidence: Evidence, requests: Sequence[Mapping[str, Any]], clears: int) -> Iterator[str]:
    """Yield what of a video's plan has not happened, or not as it was planned.

    :param requests: the video's create POSTs, as the sandbox counted them.
    :param clears: how often a user clears the run when it has ended.
    """
    if video.certain:
        yield from _absent_steps(video, evidence)
        yield from _absent_faults(video, evidence, requests)
        for name in sorted(set(video.connection) - evidence.connections):
            yield f"a try with the connection {name} {ABSENT}: there were {sorted(evidence.connections)}"
    if video.renders_differently and len(evidence.rendered) < 2:
        yield f"another request in the second try {ABSENT}: rendered were {sorted(evidence.rendered)}"
    planned = clears + sum(step.action == CLEAR for step in video.steps)
    if evidence.clears != planned:
        yield f"{planned} clears {ABSENT}: there were {evidence.clears}"


def _absent_steps(video: Video, evidence: Evidence) -> Iterator[str]:
    for number, step in enumerate(video.steps):
        if evidence.steps.get(number) != StepTrace(step.at, step.action, carried_out=True):
            yield f"step {number} ({step.action}, {step.at}) {ABSENT}: {evidence.steps.get(number)}"


def _absent_faults(video: Video, evidence: Evidence, requests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    injected = [*evidence.injected, *([0] * len(video.faults))]
    for fault, times in zip(video.faults, injected, strict=False):
        wanted = fault.get("times", 1)
        if times != wanted:
            yield f"fault {dict(fault)} {ABSENT}: injected {times} times instead of {wanted}"
        named = sum(_is_about(request, fault) for request in requests)
        if fault["on"] == "create" and named != wanted:
            yield f"fault {dict(fault)} {ABSENT}: {named} POSTs name it instead of {wanted}"


def _is_about(request: Mapping[str, Any], fault: Mapping[str, Any]) -> bool:
    return request["fault"] == fault["fault"] and request.get("when") == fault.get("when", request.get("when"))


def absent_from_case(case: Case, evidence: Sequence[Evidence], component_kills: int) -> Iterator[str]:
    """Yield what of a case has not happened, apart from what concerns a single video.

    :param evidence: of each video that had a task instance.
    :param component_kills: how often a component was killed from outside during the run.
    """
    if len(evidence) != case.count:
        yield f"{case.count} task instances {ABSENT}: there were {len(evidence)}"
    if component_kills != case.component_kills:
        yield f"{case.component_kills} kills of a component {ABSENT}: there were {component_kills}"
    steps = sum(one.steps_done for one in evidence)
    if steps < case.least.steps:
        yield f"{case.least.steps} steps {ABSENT}: there were {steps}"
    faults = sum(one.faults_injected for one in evidence)
    if faults < case.least.faults:
        yield f"{case.least.faults} faults {ABSENT}: there were {faults}"
