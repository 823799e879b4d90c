"""The decision table of the ledger: what a try may do when it finds a record. The table itself is docs/ledger.md."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.decision import (
    Cause,
    Resume,
    Send,
    Stop,
    SubmitDecision,
    cause_of,
    decide,
)
from airflow_provider_digitalhuman.ledger.record import ADOPTED, Fingerprints, RunFacts, Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger.try_facts import TryFacts

DOCS = Path(__file__).resolve().parents[3] / "docs" / "ledger.md"
SAME, OTHER = "2:aaaaaaaaaaaaaaaa", "2:bbbbbbbbbbbbbbbb"
FIRST, CLEARED = 3, 5  # ti.max_tries before and after a clear
RUN = RunFacts("2026-11-28T20:00:00+00:00", clears=0, run_after="2026-11-28T19:59:00+00:00")
LATER = "2026-11-29T08:00:00+00:00"
DECISIONS = {"submits": Send, "resumes": Resume, "fails": Stop}
STATES = ("none", "released", "sending", "unknown", "submitted", "adopted", "failed", "returned")
REQUESTS = ("same", "differs", "other media of a mapped task")


def record(stage: Stage, **changes) -> SubmissionRecord:
    accepted = {"video_task_id": "v1", "video_task": {"id": "v1"}}
    known = accepted if stage in (Stage.SUBMITTED, Stage.RETURNED, Stage.FAILED) else {}
    fields = {"fingerprint": SAME, "media": SAME, "generation": FIRST, "retries": 2, "run": RUN}
    fields |= {"try_number": 1, "sent_at": "2026-11-28T20:01:00+00:00", "sent": "that"}
    return SubmissionRecord(stage=stage, **(fields | known | changes))


def facts(*, map_index: int = -1, **changes) -> TryFacts:
    fields = {"generation": FIRST, "try_number": 2, "retries": 2, "run": RUN}
    return TryFacts(TaskAddress("dag", "run", "create", map_index), **(fields | changes))


def request(**changes) -> Fingerprints:
    return Fingerprints(**({"request": SAME, "legacy": "old", "media": SAME} | changes))


def decided(
    found: SubmissionRecord | None, of_try: TryFacts | None = None, asked: Fingerprints | None = None, **options
) -> SubmitDecision:
    return decide(found, of_try or facts(), asked or request(), **options)


def table() -> list[dict[str, str]]:
    lines = DOCS.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| record | what happened"))
    names = [cell.strip() for cell in lines[start].strip("|").split("|")]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [dict(zip(names, (cell.strip() for cell in row.strip("|").split("|")), strict=True)) for row in rows]


def found_record(state: str) -> SubmissionRecord | None:
    if state == "adopted":
        return record(Stage.SUBMITTED, fingerprint=ADOPTED)
    return None if state == "none" else record(Stage(state))


def facts_after(cause: str, request_: str) -> TryFacts:
    numbers = {
        "retry": {},
        "clear": {"generation": CLEARED},
        "either": {"retries": 0},
        "other run": {"try_number": 1, "run": RunFacts(LATER, clears=0, run_after=LATER)},
    }[cause]
    return facts(map_index=0 if request_.endswith("mapped task") else -1, **numbers)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("state", STATES)
def test_decision_is_that_of_the_documented_table(state, cause, request_):
    def fits(cell: str, value: str) -> bool:
        return cell == "any" or value in cell.split(", ")

    rows = [
        row
        for row in table()
        if fits(row["record"], state) and fits(row["what happened"], cause) and fits(row["request"], request_)
    ]
    assert len({row["the try"].split(",")[0].split(":")[0] for row in rows}) == 1, rows
    expected = DECISIONS[rows[0]["the try"].replace(":", ",").split(",")[0]]
    asked = request() if request_ == "same" else request(request=OTHER, media=OTHER)
    assert type(decided(found_record(state), facts_after(cause, request_), asked)) is expected


def test_documented_table_has_no_other_words():
    known = {"record": {*STATES}, "what happened": {*Cause, "any"}, "request": {*REQUESTS, "any"}}
    for row in table():
        for column, words in known.items():
            assert set(row[column].split(", ")) <= words, row


@pytest.mark.parametrize("cause", list(Cause)[:3])
@pytest.mark.parametrize("stage", [Stage.SENDING, Stage.UNKNOWN])
def test_resubmit_option_submits_after_unknown_outcome(stage, cause):
    found = decided(record(stage), facts_after(cause, "same"), on_unknown_submission="resubmit")
    assert isinstance(found, Send)


def test_resubmit_option_leaves_known_outcomes_alone():
    found = decided(record(Stage.SUBMITTED), on_unknown_submission="resubmit", on_video_failed="retry")
    assert isinstance(found, Resume)


def test_failed_video_is_made_again_only_where_the_author_said_so():
    assert isinstance(decided(record(Stage.FAILED)), Resume)
    assert isinstance(decided(record(Stage.FAILED), on_video_failed="retry"), Send)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, Cause.RETRY),
        ({"try_number": 4}, Cause.RETRY),
        ({"generation": CLEARED}, Cause.CLEAR),
        ({"generation": FIRST - 1}, Cause.CLEAR),
        ({"retries": 1}, Cause.EITHER),  # edited in the DAG file: with fewer, a clear gives the same max_tries
        ({"retries": 3}, Cause.EITHER),
        ({"try_number": 1}, Cause.EITHER),  # deleted and queued again, or run again after an upgrade from 2.11
        ({"run": RunFacts(RUN.started_at, clears=1)}, Cause.EITHER),  # this task or another one was cleared
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=1)}, Cause.EITHER),
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=0), "generation": CLEARED}, Cause.CLEAR),
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=1), "generation": CLEARED}, Cause.CLEAR),
        ({"run": replace(RUN, run_after=LATER)}, Cause.OTHER_RUN),
        ({"run": replace(RUN, started_at=LATER)}, Cause.EITHER),  # a run can be queued again ...
        ({"run": replace(RUN, started_at=LATER), "try_number": 1}, Cause.EITHER),  # ... its task deleted before
        ({"generation": CLEARED, "try_number": 1}, Cause.EITHER),  # deleted, and retries edited
        ({"run": RunFacts()}, Cause.RETRY),  # not known
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=1), "try_number": 1}, Cause.EITHER),
    ],
)
def test_cause_of_a_try_is_read_from_airflows_numbers(changes, cause):
    assert cause_of(record(Stage.SUBMITTED), facts(**changes)) is cause


@pytest.mark.parametrize(
    ("then", "now", "cause"),
    [
        (RunFacts("a", clears=2), RunFacts("a", clears=1), Cause.OTHER_RUN),
        (RunFacts("a", clears=1), RunFacts("a", clears=2), Cause.EITHER),
        (RunFacts("a", clears=1), RunFacts("a", clears=1), Cause.RETRY),
        (RunFacts("a"), RunFacts("a", clears=1), Cause.RETRY),
        (RunFacts("a", clears=1), RunFacts(), Cause.RETRY),  # not known: nothing follows from it
        (RunFacts("a", clears=0, row=7), RunFacts("b", clears=1, row=8), Cause.OTHER_RUN),
        (RunFacts("a", row=7), RunFacts("a", row=8), Cause.OTHER_RUN),
        (RunFacts("a", row=7), RunFacts("a", row=7), Cause.RETRY),
        (RunFacts("a", row=7), RunFacts("b", row=7), Cause.EITHER),
        (RunFacts("a", run_after="c"), RunFacts("a", run_after="d"), Cause.OTHER_RUN),
        (RunFacts("a", row=7), RunFacts("a", run_after="d"), Cause.RETRY),  # after an upgrade from 2.11
        (RunFacts("a", row=7), RunFacts("a", row=None), Cause.RETRY),  # after an upgrade from 2.11
        (RunFacts(None), RunFacts("b"), Cause.RETRY),
        (None, RunFacts("b"), Cause.EITHER),  # a record of version 1
    ],
)
def test_record_is_of_another_run_only_where_that_is_certain(then, now, cause):
    assert cause_of(record(Stage.SUBMITTED, run=then), facts(run=now)) is cause


def test_record_of_version_1_leaves_open_whether_a_retry_or_a_clear_cause():
    old = record(Stage.SUBMITTED, retries=None, run=None, media=None, fingerprint="old")
    assert cause_of(old, facts()) is Cause.EITHER
    assert isinstance(decided(old), Resume)
    assert isinstance(decided(old, asked=request(legacy="new")), Stop)


def test_mapped_task_with_another_model_goes_on_with_its_own_media():
    changed = decided(record(Stage.SUBMITTED), facts(map_index=0), request(request=OTHER))
    assert changed == Resume(changed.why, differs=True)


@pytest.mark.parametrize("map_index", [0, -1])
def test_warning_about_a_changed_request_is_asked_for_on_a_retry(map_index):
    assert not decided(record(Stage.SUBMITTED), facts(map_index=map_index)).differs
    assert decided(record(Stage.SUBMITTED), asked=request(request=OTHER)).differs


@pytest.mark.parametrize(
    ("map_index", "own_code", "expected"), [(-1, False, False), (0, False, True), (-1, True, True)]
)
def test_task_instance_can_stand_for_another_input_where_mapped_or_own_code(map_index, own_code, expected):
    assert facts(map_index=map_index, own_code=own_code).one_of_many is expected


@pytest.mark.parametrize("stage", [Stage.SENDING, Stage.UNKNOWN])
def test_stop_for_an_unknown_outcome_differs_from_one_for_a_changed_request(stage):
    assert decided(record(stage)).unknown
    assert not decided(record(Stage.SUBMITTED), facts(retries=0), request(request=OTHER)).unknown


def test_reason_names_both_fingerprints_when_the_request_differs():
    why = decided(record(Stage.SUBMITTED), asked=request(request=OTHER)).why
    assert SAME in why
    assert OTHER in why
