"""The suite itself must be able to fail: each case, with its fault left out, with nothing run, with one thing wrong.

No Airflow runs here. `python -m tests.chaos --self-test` does the same with the fast cases on a real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chaos import report
from tests.chaos.cases import all_cases
from tests.chaos.evidence import ABSENT, Evidence, StepTrace
from tests.chaos.invariants import Observed, Verdict
from tests.chaos.plan import CLEAR, UNKNOWN_TEXT, Case, Expected, Video

SERIES: Final = ("3.3", "3.2", "3.1", "3.0", "2.11")
CASES: Final = {f"{case.name}, {case.expected}": case for series in SERIES for case in all_cases(series, seeds=(1,))}
ERROR: Final = f"did not accept; {UNKNOWN_TEXT}: try 1 sent it at noon."
CLEARED_AT: Final = 1000.0


def faultless(case: Case) -> Verdict:
    """What is seen where everything has happened, and the provider is right."""
    return Verdict(case, [_as_expected(case, video, number) for number, video in enumerate(case.videos())])


def _as_expected(case: Case, video: Video, number: int) -> Observed:
    expected = video.expected or case.expected
    clears = len(case.afterwards) + sum(step.action == CLEAR for step in video.steps)
    succeeds = expected.state in ("success", None)
    charged = max(expected.charges.least, int(succeeds))
    requests = list(_requests(video, max(expected.posts.least, charged), charged))
    charges = [{"id": f"id-{request['at']}", "created": request["at"]} for request in requests if _is_paid(request)]
    known = " ".join(charge["id"] for charge in charges) if expected.known else ""
    return Observed(
        name=f"{case.name}.{number}",
        state=expected.state or "success",
        tries=expected.tries.least,
        requests=requests,
        charges=charges,
        cleared_at=[CLEARED_AT + later for later in range(clears)],
        record={"stage": "returned" if succeeds else "unknown"},
        xcom=charges[-1]["id"] if succeeds else None,
        logs=[f"{expected.log_text} {ERROR} {known}"],
        video=video,
        evidence=Evidence(
            {which: StepTrace(step.at, step.action, carried_out=True) for which, step in enumerate(video.steps)},
            [fault.get("times", 1) for fault in video.faults],
            frozenset({"one", "another"}) if video.renders_differently else frozenset({"one"}),
            frozenset(video.connection),
            clears,
        ),
    )


def _requests(video: Video, posts: int, charged: int) -> Iterator[Mapping[str, Any]]:
    """So many POSTs, those with the faults first; where two are paid for, the last one comes after a clear."""
    create_faults = [fault for fault in video.faults if fault["on"] == "create" for _ in range(fault.get("times", 1))]
    outcomes = ["refused"] * (posts - charged) + ["accepted"] * charged
    for number, outcome in enumerate(outcomes if video.certain else outcomes[-1:]):
        play = create_faults[number] if number < len(create_faults) else {"fault": None}
        late = 2 * CLEARED_AT if charged > 1 and number == posts - 1 else 0.0
        yield {"at": late + number, "outcome": outcome, "fault": play["fault"], "when": play.get("when")}


def _is_paid(request: Mapping[str, Any]) -> bool:
    return bool(request["outcome"] == "accepted")


@pytest.fixture(params=CASES, ids=lambda key: f"{CASES[key].name} ({CASES[key].expected.tries} tries)")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def judged(verdict: Verdict, change: Callable[[Observed], Observed] = lambda video: video) -> list[str]:
    """The violations, with the first video changed."""
    changed = [*map(change, verdict.videos[:1]), *verdict.videos[1:]]
    again = Verdict(verdict.case, changed)
    again.judge(component_kills=verdict.case.component_kills)
    return again.violations


def with_evidence(video: Observed, **changes: Any) -> Observed:
    return replace(video, evidence=replace(video.evidence, **changes))


def test_case_is_satisfied_where_all_has_happened_as_expected(case: Case) -> None:
    assert judged(faultless(case)) == []


def test_case_fails_without_task_instances(case: Case) -> None:
    verdict = Verdict(case)
    verdict.judge(component_kills=case.component_kills)
    assert any(f"task instances {ABSENT}" in what for what in verdict.violations)


def test_case_fails_with_one_task_instance_too_few(case: Case) -> None:
    verdict = Verdict(case, faultless(case).videos[1:])
    verdict.judge(component_kills=case.component_kills)
    assert any(f"task instances {ABSENT}" in what for what in verdict.violations)


def test_case_fails_where_nothing_was_done_though_the_end_is_as_expected(case: Case) -> None:
    videos = [replace(video, evidence=Evidence(), requests=[], logs=[ERROR]) for video in faultless(case).videos]
    verdict = Verdict(case, videos)
    verdict.judge(component_kills=0)
    assert any(ABSENT in what and "task instances" not in what for what in verdict.violations)


def test_case_fails_where_each_video_was_simply_made(case: Case) -> None:
    simple = [
        Observed(
            name=str(number),
            state="success",
            tries=1,
            requests=[{"at": 1.0, "outcome": "accepted", "fault": None, "when": None}],
            charges=[{"id": "only", "created": 1.0}],
            record={"stage": "returned"},
            xcom="only",
            logs=["Accepted: only"],
            video=video,
        )
        for number, video in enumerate(case.videos())
    ]
    verdict = Verdict(case, simple)
    verdict.judge(component_kills=0)
    assert any(ABSENT in what for what in verdict.violations)


def test_case_fails_without_any_one_of_its_steps(case: Case) -> None:
    verdict = faultless(case)
    for number, step in enumerate(case.videos()[0].steps):
        if not case.videos()[0].certain:
            continue
        kept = {which: trace for which, trace in verdict.videos[0].evidence.steps.items() if which != number}
        wrong = (None, StepTrace("elsewhere", step.action, True), StepTrace(step.at, "else", True))
        for trace in (*wrong, StepTrace(step.at, step.action, False)):
            steps = kept | ({number: trace} if trace else {})
            violations = judged(verdict, lambda video, steps=steps: with_evidence(video, steps=steps))  # type: ignore[misc]
            assert any(f"step {number}" in what and ABSENT in what for what in violations), trace


def test_case_fails_without_its_sandbox_fault(case: Case) -> None:
    verdict = faultless(case)
    video = case.videos()[0]
    for fault in video.faults if video.certain else ():
        assert any(ABSENT in what for what in judged(verdict, lambda video: with_evidence(video, injected=[])))
        if fault["on"] == "create":
            unnamed = [{**request, "fault": None} for request in verdict.videos[0].requests]
            violations = judged(verdict, lambda video, unnamed=unnamed: replace(video, requests=unnamed))  # type: ignore[misc]
            assert any("POSTs name it" in what for what in violations)


def test_case_fails_without_its_clears_kills_and_chance(case: Case) -> None:
    verdict = faultless(case)
    if case.afterwards:
        assert any("clears " + ABSENT in what for what in judged(verdict, lambda video: with_evidence(video, clears=0)))
    if case.component_kills:
        again = Verdict(case, verdict.videos)
        again.judge(component_kills=0)
        assert any("kills of a component " + ABSENT in what for what in again.violations)
    if case.least.steps:
        quiet = Verdict(case, [with_evidence(video, steps={}, injected=[]) for video in verdict.videos])
        quiet.judge(component_kills=case.component_kills)
        assert any("steps " + ABSENT in what for what in quiet.violations)
    if case.videos()[0].renders_differently:
        same = frozenset({"one"})
        violations = judged(verdict, lambda video: with_evidence(video, rendered=same))
        assert any("another request" in what and ABSENT in what for what in violations)


def test_case_fails_with_one_try_more_or_less(case: Case) -> None:
    tries = _expected_of_first(case).tries
    for wrong in (tries.least - 1, tries.most + 1):
        violations = judged(faultless(case), lambda video, wrong=wrong: replace(video, tries=wrong))  # type: ignore[misc]
        assert any("tries instead of" in what for what in violations)


def test_case_fails_with_posts_and_charges_beyond_the_expected_ones(case: Case) -> None:
    def with_more(video: Observed) -> Observed:
        more = _expected_of_first(case).posts.most + 1 - len(video.requests)
        post = {"at": 0.5, "outcome": "accepted", "fault": None, "when": None}
        charge = {"id": "more", "created": 0.5}
        return replace(video, requests=[*video.requests, *[post] * more], charges=[*video.charges, *[charge] * more])

    violations = judged(faultless(case), with_more)
    assert any("POSTs instead of" in what for what in violations)
    assert any("charges instead of" in what or "charged" in what for what in violations)


def test_case_fails_with_another_video_delivered(case: Case) -> None:
    violations = judged(faultless(case), lambda video: replace(video, state="success", xcom="id-of-another"))
    assert any("not the last accepted ID" in what for what in violations)


def test_case_fails_with_a_lost_id(case: Case) -> None:
    lost = {"id": "lost", "created": 0.5}
    violations = judged(
        faultless(case), lambda video: replace(video, charges=[lost], logs=["nothing"], xcom=None, record=None)
    )
    assert any("IDs lost: ['lost']" in what for what in violations)


def test_chance_decides_about_few_cases_and_each_of_them_must_have_had_some() -> None:
    by_chance = {case.name for case in CASES.values() if not all(video.certain for video in case.videos())}
    assert len(by_chance) == 5
    for case in CASES.values():
        assert (case.least.steps > 0) or case.name not in by_chance


def _expected_of_first(case: Case) -> Expected:
    return case.videos()[0].expected or case.expected


def test_results_of_one_airflow_take_the_place_of_its_last_ones_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    table = report.rows([faultless(case) for case in list(CASES.values())[:2]])
    report.write_upgrades("SQLite", table, 60)
    report.write("2.11", "2.11.2", "SQLite", table, 60)
    report.write("3.3", "3.3.1", "SQLite", table, 60)
    report.write("3.3", "3.3.2", "PostgreSQL", table, 60)
    text = (tmp_path / "RESULTS.md").read_text()
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["## Airflow 3.3", "## Airflow 2.11", "## Upgrades to Airflow 3.3"]
    assert "3.3.2, PostgreSQL" in text
    assert "3.3.1" not in text
