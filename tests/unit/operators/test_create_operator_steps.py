"""The create operator's steps beside the POST: what is checked before it, and what is done with the video after it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset, TaskDeferred

from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    DownloadError,
    DownloadRefusedError,
    InvalidConnectionError,
    InvalidRequestError,
    QueryError,
    VideoFailedError,
    VideoUrlMissingError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.support.compat import AIRFLOW
from tests.support.raw_server import socks5_to
from tests.support.studio import FILE, Studio

if AIRFLOW >= (3, 0):
    from airflow.sdk.execution_time.context import OutletEventAccessors
else:
    from airflow.utils.context import OutletEventAccessors

Make = Callable[..., Any]
QUICK = {"wait_for_completion": True, "poll_interval": 0.01}


@pytest.fixture
def studio(connect: Callable[..., Any]) -> Iterator[Studio]:
    server = Studio()
    connect(server.url)
    yield server
    server.close()


@pytest.fixture
def make(studio: Studio, make_operator: Make, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Make:
    """Build the operator of one try, for the studio; a retried download does not really wait."""
    context["outlet_events"] = OutletEventAccessors()
    monkeypatch.setattr(archive, "BACKOFF", (0.01,))
    monkeypatch.setattr(archive, "URL_BACKOFF", (0.01,))
    return lambda **arguments: make_operator(**{**studio.media, **arguments})


def defer(operator: Any, context: dict[str, Any]) -> Any:
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context)
    return deferral.value


def completed_event(studio: Studio, **changes: Any) -> dict[str, Any]:
    task = {"id": "v1", "status": "completed", "video_url": f"{studio.url}/out.mp4?sign=x"}
    times = {"queue_seconds": 4.0, "processing_seconds": 6.5}
    return {"status": "completed", "video_task_id": "v1", "video_task": task, "times": times, **changes}


def failed_event(error: str, **changes: Any) -> dict[str, Any]:
    return {"status": "failed", "video_task_id": "v1", "error": error, "message": "It ended so.", **changes}


FAILED_VIDEO = failed_event("VideoFailedError", video_task={"id": "v1", "status": "failed", "error": "风控拒绝"})

# --- before paying ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rendered", ["relative/path.mp4", "/videos/{id}.mp4", "", None])
def test_rendered_destination_that_is_no_path_is_refused_before_post(
    studio: Studio, make: Make, context: dict[str, Any], rendered: str | None
) -> None:
    operator = make(**QUICK, destination="{{ params.x }}")
    operator.destination = rendered if rendered is not None else "None"  # what a missing value renders to
    with pytest.raises(AirflowFailException, match="destination=") as caught:
        operator.execute(context)
    assert isinstance(caught.value.__context__, InvalidRequestError)
    assert studio.requests == []


@pytest.mark.parametrize(("deferrable", "posts"), [(True, 0), (False, 1)])
def test_socks_proxy_that_triggerer_cannot_use_is_refused_before_post(
    studio: Studio,
    make: Make,
    context: dict[str, Any],
    connect: Callable[..., Any],
    serve: Callable[..., Any],
    deferrable: bool,
    posts: int,
) -> None:
    proxy = serve(socks5_to(studio.port, "user", "proxy-passw0rd"))
    connect(studio.url, extra={"proxies": f"socks5h://user:proxy-passw0rd@127.0.0.1:{proxy.port}"})
    operator = make(**QUICK, deferrable=deferrable)
    if deferrable:
        with pytest.raises(AirflowFailException, match="SOCKS proxy cannot be used by the triggerer") as caught:
            operator.execute(context)
        assert isinstance(caught.value.__context__, InvalidConnectionError)
    else:
        assert operator.execute(context) == "v1"
    assert studio.posts == posts


@pytest.mark.parametrize(("check_media", "posts"), [(True, 0), (False, 1)])
def test_missing_media_are_refused_before_post_where_check_is_on(
    studio: Studio, make: Make, context: dict[str, Any], check_media: bool, posts: int
) -> None:
    studio.media_status = 404
    operator = make(check_media=check_media)
    if check_media:
        with pytest.raises(AirflowFailException, match="Nothing was submitted or charged"):
            operator.execute(context)
    else:
        assert operator.execute(context) == "v1"
    assert studio.posts == posts


def test_media_check_comes_before_post_and_only_where_one_follows(
    studio: Studio, make: Make, context: dict[str, Any]
) -> None:
    make(check_media=True).execute(context)
    assert [request.method for request in studio.requests] == ["GET", "GET", "POST"]
    studio.media_status = 404  # a signed URL dies; the video is paid for
    assert make(check_media=True).execute(context) == "v1"
    assert studio.posts == 1
    assert studio.gets("/in/") == 2


# --- the look-up of a video that was submitted before -----------------------------------------------------------------


def test_second_try_looks_video_up_and_pays_nothing(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any
) -> None:
    assert make().execute(context) == "v1"
    assert studio.gets("/v1/result/") == 0
    assert make().execute(context) == "v1"
    assert studio.posts == 1
    assert studio.gets("/v1/result/v1") == 1
    assert (ti.xcoms["video_task"]["id"], ti.xcoms["video_task"]["status"]) == ("v1", "completed")


def test_look_up_that_fails_leaves_video_as_recorded(
    studio: Studio,
    make: Make,
    context: dict[str, Any],
    ti: Any,
    everything_logged: Callable[[], str],
    waits: list[float],
) -> None:
    make().execute(context)
    ti.xcoms.clear()
    studio.query_status = 404
    assert make().execute(context) == "v1"
    assert ti.xcoms["video_task"]["status"] == "queued"
    assert "The state of video task v1 could not be asked for" in everything_logged()
    assert studio.posts == 1


def test_look_up_of_failed_video_fails_task(studio: Studio, make: Make, context: dict[str, Any], ti: Any) -> None:
    make().execute(context)
    studio.status, studio.error = "failed", "风控拒绝"
    with pytest.raises(AirflowFailException, match=r"v1.*风控拒绝") as caught:
        make().execute(context)
    assert isinstance(caught.value.__context__, VideoFailedError)
    assert ti.xcoms["video_task"]["error"] == "风控拒绝"
    assert studio.posts == 1


def test_second_try_that_waits_goes_on_with_same_video(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any
) -> None:
    studio.status = "processing"
    with pytest.raises(WaitTimeoutError, match="v1"):
        make(**QUICK, timeout=0.05).execute(context)
    studio.status = "completed"
    assert make(**QUICK).execute(context) == "v1"
    assert studio.posts == 1
    assert ti.xcoms["metrics"]["outcome"] == "success"


# --- the archive ------------------------------------------------------------------------------------------------------


def test_finished_video_is_archived_and_announced(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any, tmp_path: Path
) -> None:
    outlet = Asset(uri="s3://videos/made")
    operator = make(**QUICK, destination=f"{tmp_path}/", outlets=[outlet])
    assert operator.execute(context) == "v1"
    assert (tmp_path / "v1.mp4").read_bytes() == FILE
    assert ti.xcoms["archive"]["video_task_id"] == "v1"
    assert ti.xcoms["archive"]["size"] == ti.xcoms["metrics"]["size"] == len(FILE)
    assert ti.xcoms["metrics"]["amount"] == 1.5
    assert context["outlet_events"][outlet].extra["id"] == "v1"
    assert studio.posts == 1


def test_other_file_in_place_is_refused_or_replaced_as_chosen(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any, tmp_path: Path
) -> None:
    (tmp_path / "v1.mp4").write_bytes(b"another")
    with pytest.raises(AirflowFailException) as caught:
        make(**QUICK, destination=f"{tmp_path}/").execute(context)
    assert isinstance(caught.value.__context__, DownloadRefusedError)
    assert (tmp_path / "v1.mp4").read_bytes() == b"another"
    assert "archive" not in ti.xcoms
    assert (ti.xcoms["metrics"]["outcome"], ti.xcoms["metrics"]["video_task_id"]) == ("failed", "v1")
    assert make(**QUICK, destination=f"{tmp_path}/", overwrite=True).execute(context) == "v1"
    assert (tmp_path / "v1.mp4").read_bytes() == FILE
    assert studio.posts == 1


def test_download_that_failed_is_retried_without_second_post(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any, tmp_path: Path
) -> None:
    studio.file_status = 500
    with pytest.raises(DownloadError):
        make(**QUICK, destination=f"{tmp_path}/").execute(context)
    assert list(tmp_path.iterdir()) == []
    studio.file_status = 200
    assert make(**QUICK, destination=f"{tmp_path}/").execute(context) == "v1"
    assert (tmp_path / "v1.mp4").read_bytes() == FILE
    assert studio.posts == 1


def test_video_that_was_made_is_not_paid_for_again_when_vendor_forgets_it(
    studio: Studio, make: Make, context: dict[str, Any], tmp_path: Path
) -> None:
    """Its download failed, and it has expired by the next try: that is no failed video."""
    arguments = {**QUICK, "destination": f"{tmp_path}/", "on_video_failed": "retry"}
    studio.file_status = 500
    with pytest.raises(DownloadError):
        make(**arguments).execute(context)
    studio.status = "expired"
    for _ in range(2):
        with pytest.raises(VideoFailedError):
            make(**arguments).execute(context)
    assert studio.posts == 1


# --- after the wait in the triggerer ----------------------------------------------------------------------------------


def test_completed_event_ends_task(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any, tmp_path: Path
) -> None:
    studio.status = "processing"
    arguments = {**QUICK, "deferrable": True, "destination": f"{tmp_path}/"}
    deferral = defer(make(**arguments), context)
    assert (deferral.method_name, deferral.trigger.video_task_id) == ("execute_complete", "v1")
    assert list(tmp_path.iterdir()) == []
    studio.status = "completed"
    assert make(**arguments).execute_complete(context, completed_event(studio)) == "v1"
    assert (tmp_path / "v1.mp4").read_bytes() == FILE
    assert ti.xcoms["video_task"]["status"] == "completed"
    metrics = ti.xcoms["metrics"]
    assert (metrics["outcome"], metrics["queue_seconds"], metrics["processing_seconds"]) == ("success", 4.0, 6.5)
    assert ti.xcoms["archive"]["size"] == len(FILE)
    assert studio.posts == 1


def test_video_that_is_there_already_needs_no_trigger(studio: Studio, make: Make, context: dict[str, Any]) -> None:
    assert make(**QUICK, deferrable=True).execute(context) == "v1"
    assert (studio.posts, studio.gets("/v1/result/v1")) == (1, 1)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("WaitTimeoutError", WaitTimeoutError),
        ("VideoUrlMissingError", VideoUrlMissingError),
        ("ErrorOfNewerRelease", DigitalHumanError),
        ("AuthenticationError", QueryError),  # the worker's own look was answered: another try can help
        ("VideoTaskNotFoundError", QueryError),
    ],
)
def test_failed_event_raises_error_and_next_try_goes_on_with_same_video(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any, error: str, raised: type[Exception]
) -> None:
    studio.status = "processing"
    arguments = {**QUICK, "deferrable": True}
    defer(make(**arguments), context)
    with pytest.raises(raised, match=r"It ended so\.") as caught:
        make(**arguments).execute_complete(context, failed_event(error))
    assert type(caught.value) is raised
    assert ti.xcoms["metrics"]["outcome"] == "failed"
    assert defer(make(**arguments), context).trigger.video_task_id == "v1"
    assert studio.posts == 1


@pytest.mark.parametrize("event", [None, {}, {"status": "completed"}, {"status": "fine", "video_task": {"id": "v1"}}])
def test_event_that_is_not_understood_leaves_video_to_next_try(
    studio: Studio, make: Make, context: dict[str, Any], event: Any
) -> None:
    studio.status = "processing"
    arguments = {**QUICK, "deferrable": True}
    defer(make(**arguments), context)
    with pytest.raises(DigitalHumanError, match="cannot be understood"):
        make(**arguments).execute_complete(context, event)
    assert defer(make(**arguments), context).trigger.video_task_id == "v1"
    assert studio.posts == 1


@pytest.mark.parametrize(("on_video_failed", "posts"), [("fail", 1), ("retry", 2)])
def test_failed_video_is_paid_for_again_only_where_author_wants_it(
    studio: Studio, make: Make, context: dict[str, Any], ti: Any, on_video_failed: str, posts: int
) -> None:
    studio.status = "processing"
    arguments = {**QUICK, "deferrable": True, "on_video_failed": on_video_failed}
    defer(make(**arguments), context)
    with pytest.raises(AirflowFailException if on_video_failed == "fail" else VideoFailedError):
        make(**arguments).execute_complete(context, FAILED_VIDEO)
    assert ti.xcoms["video_task"]["error"] == "风控拒绝"
    assert ti.xcoms["metrics"]["status"] == "failed"
    assert defer(make(**arguments), context).trigger.video_task_id == f"v{posts}"
    assert studio.posts == posts
