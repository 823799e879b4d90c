"""What must be true of every video, whatever was done to it: the one place where it is checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.chaos.evidence import Evidence, absent, absent_from_case
from tests.chaos.plan import UNKNOWN_TEXT, Case, Video

_EXPLANATION: Final = re.compile(
    "did not accept|is not known|could not be (reached|read|written)|without a video|no video is returned"
    "|asks to slow down"
    "|Process terminated by signal"  # Airflow's words, where the last try of all was killed
)


@dataclass(frozen=True)
class Observed:
    """What is known of one video after all is over.

    :param requests: its create POSTs, as the sandbox counted them.
    :param charges: its tasks, as the sandbox counted them.
    :param cleared_at: Unix seconds of each clear.
    :param record: the ledger's record, None if there is none.
    :param xcom: what the task returned.
    :param logs: the text of each try's log.
    :param variables: keys of the Variables that hold something about this task instance.
    :param video: what was planned.
    :param evidence: what of it has happened.
    """

    name: str
    state: str
    tries: int
    requests: Sequence[Mapping[str, Any]]
    charges: Sequence[Mapping[str, Any]]
    cleared_at: Sequence[float] = ()
    record: Mapping[str, Any] | None = None
    xcom: Any = None
    logs: Sequence[str] = field(default=(), repr=False)
    variables: Sequence[str] = ()
    video: Video = field(default_factory=Video, repr=False)
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def ids_lost(self) -> list[str]:
        """Accepted IDs that are in no record, XCom or task log, and no error reports that."""
        return [] if self._reports_unknown() else self.ids_unknown

    @property
    def ids_unknown(self) -> list[str]:
        """Accepted IDs that are in no record, XCom or task log."""
        record = self.record or {}
        known = {record.get("video_task_id"), self.xcom, *record.get("earlier", ())}
        log = "\n".join(self.logs)
        return [task["id"] for task in self.charges if task["id"] not in known and task["id"] not in log]

    @property
    def double_charges(self) -> int:
        """Charges beyond one in the same generation: from the start, or from one clear, to the next clear."""
        return sum(max(0, len(charges) - 1) for charges in self._by_generation(self.charges, "created"))

    def _by_generation(self, entries: Sequence[Mapping[str, Any]], when: str) -> list[list[Mapping[str, Any]]]:
        borders = [0.0, *self.cleared_at, float("inf")]
        return [[entry for entry in entries if start <= entry[when] < end] for start, end in pairwise(borders)]

    def _reports_unknown(self) -> bool:
        """Whether an error reports what was sent and when."""
        texts = UNKNOWN_TEXT, "not known whether the video was accepted"
        return any(any(text in log for text in texts) and " sent it at " in log for log in self.logs)

    def violations(self, case: Case) -> Iterator[str]:
        """Everything that is not as it must be."""
        expected = self.video.expected or case.expected
        yield from absent(self.video, self.evidence, self.requests, clears=len(case.afterwards))
        if self.double_charges:
            yield f"charged {len(self.charges)} times with {len(self.cleared_at)} clears"
        for requests in self._by_generation(self.requests, "at"):
            for request in requests[:-1]:
                if request["outcome"] != "refused" or request["fault"] not in self.video.refusals:
                    yield f"another POST after one that may have been accepted: {request['outcome']} {request['fault']}"
        if self.ids_lost:
            yield f"IDs lost: {self.ids_lost}"
        if expected.known and self.ids_unknown:
            yield f"IDs not known to Airflow: {self.ids_unknown}"
        if self.state not in ("success", "failed") or expected.state not in (None, self.state):
            yield f"ended as {self.state} instead of {expected.state}"
        if len(self.requests) not in expected.posts:
            yield f"{len(self.requests)} POSTs instead of {expected.posts}"
        if len(self.charges) not in expected.charges:
            yield f"{len(self.charges)} charges instead of {expected.charges}"
        if self.tries not in expected.tries:
            yield f"{self.tries} tries instead of {expected.tries}"
        if expected.log_text and expected.log_text not in self._last_log:
            yield f"the last log does not contain {expected.log_text!r}"
        if expected.names_id and (unnamed := [one["id"] for one in self.charges if one["id"] not in self._last_log]):
            yield f"the last log does not name {unnamed}"
        yield from self._ending()

    def _ending(self) -> Iterator[str]:
        stage = (self.record or {}).get("stage")
        if self.state == "success":
            if not self.charges or self.xcom != self.charges[-1]["id"]:
                yield f"succeeded with {self.xcom!r}, which is not the last accepted ID"
            if stage not in ("returned", None):
                yield f"succeeded with the record at {stage}"
            if self.variables:
                yield f"succeeded, and left {self.variables}"
        elif not self._is_explained():
            yield f"failed, and the last log does not explain why (record: {stage})"

    def _is_explained(self) -> bool:
        """Whether the last try ended with an error of the provider's own."""
        return bool(_EXPLANATION.search(self._last_log))

    @property
    def _last_log(self) -> str:
        return self.logs[-1] if self.logs else ""


@dataclass
class Verdict:
    """What came of a case; one row of the table.

    :param violations: everything that is not as it must be.
    """

    case: Case
    videos: list[Observed] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def judge(self, component_kills: int) -> None:
        """Add what the videos and the evidence violate.

        :param component_kills: how often a component was killed from outside during the run.
        """
        self.violations += absent_from_case(self.case, [video.evidence for video in self.videos], component_kills)
        for video in self.videos:
            self.violations += [f"{video.name}: {what}" for what in video.violations(self.case)]

    @property
    def task_runs(self) -> int:
        """Tries that came to the operator."""
        return sum(video.tries for video in self.videos)

    @property
    def posts(self) -> int:
        """Create POSTs that reached the sandbox."""
        return sum(len(video.requests) for video in self.videos)

    @property
    def charges(self) -> int:
        """Videos that the sandbox charged for."""
        return sum(len(video.charges) for video in self.videos)

    @property
    def double_charges(self) -> int:
        """Charges beyond one per video and generation."""
        return sum(video.double_charges for video in self.videos)

    @property
    def ids_reported_unknown(self) -> int:
        """Accepted IDs lost with their process, where the task's error reports the outcome as unknown."""
        return sum(len(video.ids_unknown) - len(video.ids_lost) for video in self.videos)

    @property
    def ids_lost(self) -> int:
        """Accepted IDs that are found nowhere, and no error reports that."""
        return sum(len(video.ids_lost) for video in self.videos)


def name_of(body: Any) -> str:
    """The video that a create's body, or a task's, is about."""
    try:
        return str(parse_qs(urlsplit(body["audioUrl"]).query)["video"][0])
    except (KeyError, TypeError, IndexError):
        return ""
