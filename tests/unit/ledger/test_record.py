"""The decision table of the ledger: what a try may do when it finds a record. The table itself is docs/ledger.md."""

import itertools
import json
from pathlib import Path

import pytest

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.record import (
    ADOPTED,
    Attempt,
    Happened,
    Resume,
    RunFacts,
    Send,
    Stage,
    Stop,
    SubmissionRecord,
    decide,
    what_happened,
)

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


def attempt(**changes) -> Attempt:
    fields = {"fingerprint": SAME, "legacy_fingerprint": "old", "media": SAME, "generation": FIRST, "try_number": 2}
    return Attempt(**(fields | {"retries": 2, "one_of_many": False, "run": RUN} | changes))


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


def attempt_after(happened: str, request: str) -> Attempt:
    numbers = {
        "retry": {},
        "clear": {"generation": CLEARED},
        "either": {"retries": 0},
        "other run": {"try_number": 1, "run": RunFacts(LATER, clears=0, run_after=LATER)},
    }[happened]
    requests = {
        "same": {},
        "differs": {"fingerprint": OTHER, "media": OTHER},
        "other media of a mapped task": {"fingerprint": OTHER, "media": OTHER, "one_of_many": True},
    }[request]
    return attempt(**numbers, **requests)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("happened", list(Happened))
@pytest.mark.parametrize("state", STATES)
def test_decision_is_that_of_the_documented_table(state, happened, request_):
    def fits(cell: str, value: str) -> bool:
        return cell == "any" or value in cell.split(", ")

    rows = [
        row
        for row in table()
        if fits(row["record"], state) and fits(row["what happened"], happened) and fits(row["request"], request_)
    ]
    assert len({row["the try"].split(",")[0].split(":")[0] for row in rows}) == 1, rows
    expected = DECISIONS[rows[0]["the try"].replace(":", ",").split(",")[0]]
    assert type(decide(found_record(state), attempt_after(happened, request_))) is expected


def test_documented_table_has_no_other_words():
    known = {"record": {*STATES}, "what happened": {*Happened, "any"}, "request": {*REQUESTS, "any"}}
    for row in table():
        for column, words in known.items():
            assert set(row[column].split(", ")) <= words, row


@pytest.mark.parametrize("happened", list(Happened)[:3])
@pytest.mark.parametrize("stage", [Stage.SENDING, Stage.UNKNOWN])
def test_resubmit_option_submits_after_unknown_outcome(stage, happened):
    assert isinstance(decide(record(stage), attempt_after(happened, "same"), on_unknown_submission="resubmit"), Send)


def test_resubmit_option_leaves_known_outcomes_alone():
    found = decide(record(Stage.SUBMITTED), attempt(), on_unknown_submission="resubmit", on_video_failed="retry")
    assert isinstance(found, Resume)


def test_failed_video_is_made_again_only_where_the_author_said_so():
    assert isinstance(decide(record(Stage.FAILED), attempt()), Resume)
    assert isinstance(decide(record(Stage.FAILED), attempt(), on_video_failed="retry"), Send)


@pytest.mark.parametrize(
    ("changes", "happened"),
    [
        ({}, Happened.RETRY),
        ({"try_number": 4}, Happened.RETRY),
        ({"generation": CLEARED}, Happened.CLEAR),
        ({"generation": FIRST - 1}, Happened.CLEAR),
        ({"retries": 1}, Happened.EITHER),  # edited in the DAG file: with fewer, a clear gives the same max_tries
        ({"retries": 3}, Happened.EITHER),
        ({"try_number": 1}, Happened.EITHER),  # deleted and queued again, or run again after an upgrade from 2.11
        ({"run": RunFacts(RUN.started_at, clears=1)}, Happened.EITHER),  # this task or another one was cleared
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=1)}, Happened.EITHER),
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=0), "generation": CLEARED}, Happened.CLEAR),
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=1), "generation": CLEARED}, Happened.CLEAR),
        ({"run": RUN._replace(run_after=LATER)}, Happened.OTHER_RUN),
        ({"run": RUN._replace(started_at=LATER)}, Happened.EITHER),  # a run can be queued again ...
        ({"run": RUN._replace(started_at=LATER), "try_number": 1}, Happened.EITHER),  # ... its task deleted before
        ({"generation": CLEARED, "try_number": 1}, Happened.EITHER),  # deleted, and retries edited
        ({"run": RunFacts()}, Happened.RETRY),  # not known
        ({"run": RunFacts("2026-11-29T08:00:00+00:00", clears=1), "try_number": 1}, Happened.EITHER),
    ],
)
def test_cause_of_a_try_is_read_from_airflows_numbers(changes, happened):
    assert what_happened(record(Stage.SUBMITTED), attempt(**changes)) is happened


@pytest.mark.parametrize(
    ("then", "now", "happened"),
    [
        (RunFacts("a", clears=2), RunFacts("a", clears=1), Happened.OTHER_RUN),
        (RunFacts("a", clears=1), RunFacts(), Happened.RETRY),  # not known: nothing follows from it
        (RunFacts("a", clears=0, row=7), RunFacts("b", clears=1, row=8), Happened.OTHER_RUN),
        (RunFacts("a", row=7), RunFacts("a", row=8), Happened.OTHER_RUN),
        (RunFacts("a", row=7), RunFacts("a", row=7), Happened.RETRY),
        (RunFacts("a", row=7), RunFacts("b", row=7), Happened.EITHER),
        (RunFacts("a", run_after="c"), RunFacts("a", run_after="d"), Happened.OTHER_RUN),
        (RunFacts("a", row=7), RunFacts("a", run_after="d"), Happened.RETRY),  # after an upgrade from 2.11
        (RunFacts("a", row=7), RunFacts("a", row=None), Happened.RETRY),  # after an upgrade from 2.11
        (RunFacts(None), RunFacts("b"), Happened.RETRY),
        (None, RunFacts("b"), Happened.EITHER),  # a record of version 1
    ],
)
def test_record_is_of_another_run_only_where_that_is_certain(then, now, happened):
    assert what_happened(record(Stage.SUBMITTED, run=then), attempt(run=now)) is happened


def test_record_of_version_1_leaves_open_whether_a_retry_or_a_clear_happened():
    old = record(Stage.SUBMITTED, retries=None, run=None, media=None, fingerprint="old")
    assert what_happened(old, attempt()) is Happened.EITHER
    assert isinstance(decide(old, attempt()), Resume)
    assert isinstance(decide(old, attempt(legacy_fingerprint="new")), Stop)


def test_mapped_task_with_another_model_goes_on_with_its_own_media():
    changed = decide(record(Stage.SUBMITTED), attempt(fingerprint=OTHER, one_of_many=True))
    assert changed == Resume(changed.why, differs=True)


@pytest.mark.parametrize("one_of_many", [True, False])
def test_warning_about_a_changed_request_is_asked_for_on_a_retry(one_of_many):
    assert not decide(record(Stage.SUBMITTED), attempt(one_of_many=one_of_many)).differs
    assert decide(record(Stage.SUBMITTED), attempt(fingerprint=OTHER)).differs


@pytest.mark.parametrize("stage", [Stage.SENDING, Stage.UNKNOWN])
def test_stop_for_an_unknown_outcome_is_told_from_one_for_a_changed_request(stage):
    assert decide(record(stage), attempt()).unknown
    assert not decide(record(Stage.SUBMITTED), attempt(fingerprint=OTHER, retries=0)).unknown


def test_reason_names_both_fingerprints_when_the_request_differs():
    why = decide(record(Stage.SUBMITTED), attempt(fingerprint=OTHER)).why
    assert SAME in why
    assert OTHER in why


@pytest.mark.parametrize("stage", list(Stage))
def test_record_survives_json(stage):
    written = record(stage, detail="why", earlier=("v0",), possible_id="p", completed=True)
    assert SubmissionRecord.from_json(json.loads(json.dumps(written.to_json()))) == written
    assert written.to_json()["version"] == 2


def test_record_json_leaves_out_what_is_empty():
    assert "earlier" not in record(Stage.SENDING).to_json()
    assert "row" not in record(Stage.SENDING).to_json()["run"]
    assert "run" not in record(Stage.SENDING, run=None).to_json()


def test_record_reader_ignores_keys_of_the_stores():
    value = record(Stage.SENDING).to_json() | {"copied": True, "task": ["d", "r", "t", -1]}
    assert SubmissionRecord.from_json(value) == record(Stage.SENDING)


def test_record_holds_nothing_that_was_not_written():
    least = {"version": 1, "stage": "sending", "fingerprint": SAME, "generation": 3, "try_number": 1}
    record_ = SubmissionRecord.from_json({**least, "sent_at": "then", "sent": "that"})
    assert record_[6:] == (None, None, None, None, (), None, None, None, None)


@pytest.mark.parametrize("stage", list(Stage))
def test_record_is_open_while_nobody_can_tell_what_became_of_the_post(stage):
    assert record(stage).is_open is (stage in ("sending", "unknown"))


@pytest.mark.parametrize("stage", list(Stage))
def test_record_is_of_its_video_until_it_is_released(stage):
    named = record(stage, video_task_id="v1")
    assert named.is_of_the_video("v1") is (stage != "released")
    assert not named.is_of_the_video("v2")


def test_record_keeps_an_id_that_may_have_been_given():
    assert record(Stage.UNKNOWN, possible_id="p", earlier=("v0",)).known_ids == ("v0", "p")
    assert record(Stage.SUBMITTED, possible_id="p").known_ids == ("v1",)


def test_record_keeps_all_ids_ever_given():
    assert record(Stage.SUBMITTED, earlier=("v0",)).known_ids == ("v0", "v1")
    assert record(Stage.SENDING, earlier=("v0", "v1")).known_ids == ("v0", "v1")


@pytest.mark.parametrize(
    "changes", [{"try_number": 2}, {"sent_at": "2026-11-28T20:01:01+00:00"}, {"fingerprint": OTHER}]
)
def test_record_of_the_same_post_is_told_by_try_time_and_request(changes):
    assert record(Stage.SENDING).is_same_post(record(Stage.SUBMITTED, generation=9))
    assert not record(Stage.SENDING).is_same_post(record(Stage.SENDING, **changes))


@pytest.mark.parametrize(
    "broken",
    [
        "text",
        [],
        {},
        {"stage": "sending"},
        record(Stage.SENDING).to_json() | {"stage": "half-way"},
        record(Stage.SUBMITTED).to_json() | {"video_task_id": ""},
        {key: value for key, value in record(Stage.RETURNED).to_json().items() if key != "video_task_id"},
        {key: value for key, value in record(Stage.FAILED).to_json().items() if key != "video_task_id"},
        record(Stage.SENDING).to_json() | {"generation": "x"},
        record(Stage.SENDING).to_json() | {"version": 99},
        record(Stage.SENDING).to_json() | {"version": 0},
    ],
)
def test_record_that_cannot_be_read_is_not_no_record(broken):
    with pytest.raises(LedgerError, match=r"cannot be read|holds no ID"):
        SubmissionRecord.from_json(broken)
