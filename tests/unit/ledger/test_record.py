"""The record of a submission: what it holds, and how it is written and read."""

import json

import pytest

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.record import RunFacts, Stage, SubmissionRecord

FINGERPRINT, OTHER = "2:aaaaaaaaaaaaaaaa", "2:bbbbbbbbbbbbbbbb"
RUN = RunFacts("2026-11-28T20:00:00+00:00", clears=0, run_after="2026-11-28T19:59:00+00:00")


def record(stage: Stage, **changes) -> SubmissionRecord:
    accepted = {"video_task_id": "v1", "video_task": {"id": "v1"}}
    known = accepted if stage in (Stage.SUBMITTED, Stage.RETURNED, Stage.FAILED) else {}
    fields = {"fingerprint": FINGERPRINT, "media": FINGERPRINT, "generation": 3, "retries": 2, "run": RUN}
    fields |= {"try_number": 1, "sent_at": "2026-11-28T20:01:00+00:00", "sent": "that"}
    return SubmissionRecord(stage=stage, **(fields | known | changes))


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
    least = {"version": 1, "stage": "sending", "fingerprint": FINGERPRINT, "generation": 3, "try_number": 1}
    read = SubmissionRecord.from_json({**least, "sent_at": "then", "sent": "that"})
    assert read == SubmissionRecord(Stage.SENDING, FINGERPRINT, 3, 1, "then", "that")
    assert [read.video_task_id, read.video_task, read.completed, read.detail, read.media] == [None] * 5
    assert [read.retries, read.run, read.possible_id, read.earlier] == [None, None, None, ()]


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
def test_record_is_of_the_same_post_by_try_time_and_request(changes):
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
