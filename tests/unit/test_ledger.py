"""The decision table of the ledger: what a try may do when it finds a record."""

import json

import pytest

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger import Action, Attempt, Stage, SubmissionRecord, decide

SAME, OTHER = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
FIRST, CLEARED = 3, 5  # ti.max_tries before and after a clear


def record(stage: Stage, **changes) -> SubmissionRecord:
    accepted = {"video_task_id": "v1", "video_task": {"id": "v1"}}
    known = accepted if stage in (Stage.SUBMITTED, Stage.RETURNED, Stage.FAILED) else {}
    fields = {"fingerprint": SAME, "generation": FIRST, "try_number": 1, "sent_at": "then", "sent": "that"}
    return SubmissionRecord(stage=stage, **(fields | known | changes))


def attempt(generation: int = FIRST, fingerprint: str = SAME) -> Attempt:
    return Attempt(fingerprint=fingerprint, generation=generation, try_number=2)


SEND, GO_ON, STOP = Action.SEND, Action.GO_ON, Action.STOP


@pytest.mark.parametrize(
    ("stage", "same_request", "retry", "clear"),
    [
        # stage            same   automatic retry  after a clear
        (None, True, SEND, SEND),
        (Stage.RELEASED, True, SEND, SEND),
        (Stage.RELEASED, False, SEND, SEND),
        (Stage.SENDING, True, STOP, STOP),  # nobody was told yet: the clear was not about this
        (Stage.SENDING, False, STOP, STOP),
        (Stage.UNKNOWN, True, STOP, SEND),
        (Stage.UNKNOWN, False, STOP, SEND),
        (Stage.SUBMITTED, True, GO_ON, GO_ON),  # the video is still in the making
        (Stage.SUBMITTED, False, GO_ON, SEND),
        (Stage.RETURNED, True, GO_ON, SEND),
        (Stage.RETURNED, False, GO_ON, SEND),
        (Stage.FAILED, True, GO_ON, SEND),
        (Stage.FAILED, False, GO_ON, SEND),
    ],
)
def test_decision_table(stage, same_request, retry, clear):
    found = record(stage) if stage else None
    now = SAME if same_request else OTHER
    assert decide(found, attempt(fingerprint=now)).action is retry
    assert decide(found, attempt(CLEARED, now)).action is clear


@pytest.mark.parametrize("generation", [FIRST, CLEARED])
@pytest.mark.parametrize("stage", [Stage.SENDING, Stage.UNKNOWN])
def test_resubmit_is_an_explicit_choice(stage, generation):
    assert decide(record(stage), attempt(generation), on_unknown_submission="resubmit").action is SEND


@pytest.mark.parametrize("stage", [Stage.SUBMITTED, Stage.RETURNED])
def test_resubmit_is_about_unknown_outcomes_only(stage):
    found = decide(record(stage), attempt(), on_unknown_submission="resubmit", on_video_failed="retry")
    assert found.action is GO_ON


def test_a_failed_video_is_made_again_only_where_the_author_said_so():
    assert decide(record(Stage.FAILED), attempt()).action is GO_ON
    assert decide(record(Stage.FAILED), attempt(), on_video_failed="retry").action is SEND


def test_the_reason_names_both_fingerprints_when_the_request_differs():
    why = decide(record(Stage.SUBMITTED), attempt(fingerprint=OTHER)).why
    assert SAME in why
    assert OTHER in why


@pytest.mark.parametrize("stage", list(Stage))
def test_a_record_survives_json(stage):
    written = record(stage, detail="why", earlier=("v0",))
    assert SubmissionRecord.from_json(json.loads(json.dumps(written.to_json()))) == written


def test_all_ids_ever_given_are_kept():
    assert record(Stage.SUBMITTED, earlier=("v0",)).known_ids == ("v0", "v1")
    assert record(Stage.SENDING, earlier=("v0", "v1")).known_ids == ("v0", "v1")


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
        record(Stage.SENDING).to_json() | {"generation": "x"},
        record(Stage.SENDING).to_json() | {"version": 99},
    ],
)
def test_a_record_that_cannot_be_read_is_not_no_record(broken):
    with pytest.raises(LedgerError, match=r"cannot be read|holds no ID"):
        SubmissionRecord.from_json(broken)
