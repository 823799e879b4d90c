"""The destination as an author writes it, and the one path that it becomes for one video."""

from pathlib import Path

import pendulum
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive.destination import check_destination, fill_in, safe_segment
from airflow_provider_digitalhuman.exceptions import InvalidRequestError

CREATED = pendulum.datetime(2025, 10, 28, 23, 59)


def task(**changes) -> VideoTask:
    return VideoTask(**({"id": "v-1", "status": "completed", "created": CREATED, "model": "kyy"} | changes))


@pytest.mark.parametrize(
    ("destination", "uri"),
    [
        ("s3://bucket/videos/{video_task_id}.mp4", "s3://bucket/videos/v-1.mp4"),
        ("s3://conn@bucket/{created:%Y/%m/%d}/{model}-{video_task_id}.mp4", "s3://conn@bucket/2025/10/28/kyy-v-1.mp4"),
        ("gs://bucket/videos/", "gs://bucket/videos/v-1.mp4"),
        ("/data/{created}/", "file:///data/2025-10-28/v-1.mp4"),
        ("file:///data/out.mp4", "file:///data/out.mp4"),
    ],
)
def test_placeholders_are_filled_in(destination, uri):
    assert fill_in(destination, task()) == uri


def test_path_object_is_taken_as_its_text():
    assert check_destination(Path("/data/{video_task_id}.mp4")) == "/data/{video_task_id}.mp4"
    assert check_destination(ObjectStoragePath("memory://folder/v.mp4")) == str(
        ObjectStoragePath("memory://folder/v.mp4")
    )
    assert fill_in(Path("/data/{video_task_id}.mp4"), task()) == "file:///data/v-1.mp4"
    with pytest.raises(InvalidRequestError, match="absolute path"):
        check_destination(Path("videos/v.mp4"))


def test_what_the_vendor_left_out_does_not_lose_the_video():
    assert fill_in("/d/{created:%Y}/{model}.mp4", task(created=None, model=None)) == "file:///d/unknown/unknown.mp4"


@pytest.mark.parametrize("value", ["../../etc/passwd", "..", ".", ".hidden", "a/b", "a\\b", "ü?#%2F", "x" * 500])
def test_what_the_vendor_sent_is_one_segment_of_the_path(value):
    path = fill_in("/d/{video_task_id}.mp4", task(id=value)).removeprefix("file:///d/")
    assert "/" not in path
    assert not path.startswith(".")
    assert len(path) < 200
    assert path.isascii()


def test_different_ids_never_share_a_path():
    assert len({safe_segment(one) for one in ("a/b", "a_b", "a?b", "a b", "A/b")}) == 5


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("", "give the path"),
        (None, "give the path"),
        ("videos/{video_task_id}.mp4", "absolute path"),
        ("s3://", "names no path"),
        ("file://data/v.mp4", "three slashes"),
        ("file://localhost/data/v.mp4", "three slashes"),
        ("file://", "three slashes"),
        ("s3://b/{id}.mp4", "there is no {id}"),
        ("s3://b/{}.mp4", "there is no {}"),
        ("s3://b/{video_task_id.__class__}.mp4", "there is no"),
        ("s3://b/{model[0]}.mp4", "there is no"),
        ("s3://b/{video_task_id!r}.mp4", "!r"),
        ("s3://b/{video_task_id:>10}.mp4", "takes no format"),
        ("s3://b/{created:%Q}.mp4", "not a date format"),
        ("s3://b/{created:../%Y}.mp4", "not a date format"),
        ("s3://b/{created:{model}}.mp4", "not a date format"),
        ("s3://b/{video_task_id.mp4", "single braces"),
        ("s3://b/a\nb.mp4", "control character"),
    ],
)
def test_a_bad_destination_is_refused_with_a_cure(destination, says):
    with pytest.raises(InvalidRequestError, match="destination=") as refused:
        check_destination(destination)
    assert says in str(refused.value)
