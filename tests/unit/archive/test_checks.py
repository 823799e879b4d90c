"""What can be known of a destination before paying: each impossible one is refused with 0 POSTs, and leaves nothing."""

import errno
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_digitalhuman.archive.checks import check_before_paying
from airflow_provider_digitalhuman.exceptions import (
    ConnectionMissingError,
    DownloadError,
    InvalidRequestError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.support.compat import AIRFLOW
from tests.support.archiving import LOG, nothing_left
from tests.support.raw_server import RawServer, answering, http_answer

if AIRFLOW >= (3, 0):
    from airflow.sdk.io import store as stores
else:
    from airflow.io import store as stores

VIDEO = {"id": "abc", "object": "video", "created": 1761635478, "model": "kyy_digitalHuman"}
ACCEPTED = http_answer(200, json.dumps({**VIDEO, "status": "queued"}))
PROCESSING = http_answer(200, json.dumps({**VIDEO, "status": "processing"}))
WAITING: dict[str, Any] = {"wait_for_completion": True, "timeout": 0.2, "poll_interval": 0.1}

Run = Callable[..., RawServer]


@pytest.fixture
def submit(connect: Any, serve: Any, context: Any, make_operator: Any) -> Run:
    """Run a task that waits for a video that is never made; return the server that has counted its POSTs."""

    def run(destination: str, **arguments: Any) -> RawServer:
        server = serve(answering(ACCEPTED, PROCESSING))
        connect(server.url)
        with suppress(WaitTimeoutError):
            make_operator(**WAITING, destination=destination, **arguments).execute(context)
        assert isinstance(server, RawServer)
        return server

    return run


@pytest.fixture
def refuse(connect: Any, serve: Any, context: Any, make_operator: Any) -> Callable[..., str]:
    """Run a task that must be refused for good with 0 POSTs; return what it says."""

    def run(destination: str, **arguments: Any) -> str:
        server = serve(answering(ACCEPTED, PROCESSING))
        connect(server.url)
        with pytest.raises(AirflowFailException) as refused:
            make_operator(**WAITING, destination=destination, **arguments).execute(context)
        assert isinstance(refused.value.__context__, InvalidRequestError)
        assert server.posts == 0
        return str(refused.value)

    return run


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryFileSystem:
    """A store in memory, empty, at ``memory://``."""
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    fs = MemoryFileSystem()
    stores.attach("memory", fs=fs)
    return fs


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | Exception], None]:
    """Set what Airflow answers for a connection that no environment variable defines."""

    def answer(said: str | Exception) -> None:
        def asked(_: Any, message: Any = None, **__: Any) -> Any:
            if AIRFLOW >= (3, 0) and type(message).__name__ != "GetConnection":  # 3.0 also sends what to mask
                return None
            if isinstance(said, Exception):
                raise said
            if AIRFLOW < (3, 0):
                return None
            from airflow.sdk.exceptions import ErrorType
            from airflow.sdk.execution_time.comms import ErrorResponse

            return ErrorResponse(error=ErrorType[said])

        if AIRFLOW < (3, 0):
            monkeypatch.setattr("airflow.secrets.metastore.MetastoreBackend.get_connection", asked)
            return
        from airflow.sdk.execution_time import task_runner

        comms = type("Comms", (), {"send": asked, "send_request": asked})
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms(), raising=False)

    return answer


# --- stores -----------------------------------------------------------------------------------------------------------


def test_unknown_scheme_is_refused_before_paying(refuse: Any) -> None:
    said = refuse("nosuch://bucket/")
    assert "destination='nosuch://bucket/" in said
    assert "Install the provider" in said


def test_missing_store_package_is_refused_before_paying(refuse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert "apache-airflow-providers-amazon[s3fs]" in refuse("s3://bucket/videos/")


@pytest.mark.parametrize(
    ("destination", "arguments", "named"),
    [
        ("memory://folder/", {"storage_conn_id": "nobody"}, "storage_conn_id='nobody'"),
        ("memory://nobody@folder/", {}, "the connection in destination='nobody'"),
        ("file:///tmp/", {"storage_conn_id": "nobody"}, "storage_conn_id='nobody'"),
    ],
)
def test_unknown_storage_connection_is_refused_before_paying(
    refuse: Any, memory: Any, look_up: Any, destination: str, arguments: dict[str, str], named: str
) -> None:
    look_up("CONNECTION_NOT_FOUND")
    said = refuse(destination, **arguments)
    assert named in said
    assert "Create it, or correct the ID" in said


@pytest.mark.parametrize("answer", [RuntimeError("the API server is restarting"), "API_SERVER_ERROR"])
def test_failed_connection_look_up_is_retried_and_sends_nothing(
    connect: Any, serve: Any, context: Any, make_operator: Any, memory: Any, look_up: Any, answer: Any
) -> None:
    if AIRFLOW < (3, 0) and isinstance(answer, str):
        answer = ConnectionError(answer)  # no API server there
    look_up(answer)
    server = serve(answering(ACCEPTED))
    connect(server.url)
    operator = make_operator(**WAITING, destination="memory://folder/", storage_conn_id="maybe")
    with pytest.raises(ConnectionMissingError, match="storage_conn_id='maybe' could not be looked up"):
        operator.execute(context)
    assert not ConnectionMissingError.ends_retries
    assert server.posts == 0


def test_known_storage_connection_lets_the_video_be_submitted(
    submit: Run, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STORAGE", json.dumps({"conn_type": "generic"}))
    stores.attach("memory", conn_id="storage", fs=memory)
    assert submit("memory://folder/", storage_conn_id="storage").posts == 1


def test_store_that_cannot_be_opened_is_retried_and_sends_nothing(
    connect: Any, serve: Any, context: Any, make_operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise TimeoutError("no credentials yet")

    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    monkeypatch.setattr(stores.ObjectStore, "fs", property(unreachable))
    server = serve(answering(ACCEPTED))
    connect(server.url)
    with pytest.raises(DownloadError, match="could not be opened: TimeoutError"):
        make_operator(**WAITING, destination="memory://folder/").execute(context)
    assert not DownloadError.ends_retries
    assert server.posts == 0


def test_taken_name_in_a_store_is_refused_before_paying(refuse: Any, memory: MemoryFileSystem) -> None:
    memory.pipe("/folder/v.mp4", b"precious")
    said = refuse("memory://folder/v.mp4")
    assert "there is a file at memory:" in said
    assert "overwrite=True" in said


@pytest.mark.parametrize(
    ("destination", "arguments"),
    [
        ("memory://folder/v.mp4", {"overwrite": True}),
        ("memory://folder/{created}.mp4", {}),
        ("memory://folder/", {}),
        ("memory://folder/w.mp4", {}),
    ],
)
def test_other_names_in_a_store_let_the_video_be_submitted(
    submit: Run, memory: MemoryFileSystem, destination: str, arguments: dict[str, Any]
) -> None:
    memory.pipe("/folder/v.mp4", b"precious")
    assert submit(destination, **arguments).posts == 1


def test_store_that_forbids_to_look_lets_the_video_be_submitted(
    submit: Run, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError("s3:ListBucket")

    monkeypatch.setattr(MemoryFileSystem, "info", forbidden)
    assert submit("memory://folder/v.mp4").posts == 1


# --- local folders ----------------------------------------------------------------------------------------------------


def make_file(folder: Path) -> None:
    (folder / "taken").write_bytes(b"precious")


def make_fifo(folder: Path) -> None:
    os.mkfifo(folder / "taken")


def make_dangling_link(folder: Path) -> None:
    (folder / "taken").symlink_to(folder / "nowhere")


def make_folder(folder: Path) -> None:
    (folder / "taken").mkdir()


@pytest.mark.parametrize(
    ("make", "path", "says"),
    [
        (make_file, "taken/v.mp4", "taken is a file, not a folder"),
        (make_file, "taken/more/{video_task_id}.mp4", "taken is a file, not a folder"),
        (make_file, "taken/", "taken is a file, not a folder"),
        (make_file, "taken", "there is a file at"),
        (make_dangling_link, "taken", "there is a file at"),
        (make_dangling_link, "taken/v.mp4", "taken is a link that leads nowhere"),
        (make_dangling_link, "taken/{video_task_id}.mp4", "taken is a link that leads nowhere"),
        (make_folder, "taken", "it is a folder; end it with /"),
        (make_fifo, "taken", "it is no regular file"),
        (None, "x" * 300 + ".mp4", "File name too long"),
        (None, "new/" + "x" * 300 + ".mp4", "a name in it is too long; 255 bytes"),
        (None, "{created:%Y/%m}/" + "x" * 300 + "{video_task_id}.mp4", "a name in it is too long; 255 bytes"),
        (None, "视" * 100 + "/", "File name too long"),
        (None, "a/" * 3000, "File name too long"),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_impossible_local_path_is_refused_before_paying(
    refuse: Any, tmp_path: Path, scheme: str, make: Callable[[Path], None] | None, path: str, says: str
) -> None:
    if make:
        make(tmp_path)
    before = sorted(tmp_path.iterdir())
    said = refuse(f"{scheme}{tmp_path}/{path}")
    assert says in said
    assert "destination=" in said
    assert sorted(tmp_path.iterdir()) == before


def test_device_is_refused_as_destination_before_paying(refuse: Any) -> None:
    assert "no regular file" in refuse("/dev/null", overwrite=True)


@pytest.mark.parametrize("path", ["v.mp4", "", "new/folder/{video_task_id}.mp4"])
def test_unwritable_folder_is_refused_before_paying(refuse: Any, path: str) -> None:
    # a folder that root may not write to either
    assert "may not write to the folder /proc/self" in refuse(f"/proc/self/{path}")


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("taken", {"overwrite": True}),
        ("{model}", {}),
        ("{created:%Y/%m/%d}/", {}),
        ("new/folder/v.mp4", {}),
        ("new/folder/", {}),
    ],
)
def test_possible_local_path_lets_the_video_be_submitted(
    submit: Run, tmp_path: Path, path: str, arguments: dict[str, Any]
) -> None:
    make_file(tmp_path)
    assert submit(f"{tmp_path}/{path}", **arguments).posts == 1
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]


def test_retry_of_a_paid_video_does_not_look_at_the_destination(
    connect: Any, serve: Any, context: Any, make_operator: Any, tmp_path: Path
) -> None:
    server = serve(answering(ACCEPTED, PROCESSING))
    connect(server.url)
    operator = make_operator(**WAITING, destination=f"{tmp_path}/taken")
    with pytest.raises(WaitTimeoutError):
        operator.execute(context)
    make_file(tmp_path)
    with pytest.raises(WaitTimeoutError):
        operator.execute(context)
    assert server.posts == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_look_that_fails_for_a_time_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "stat", fails)
    with caplog.at_level("INFO"):
        check_before_paying(f"{tmp_path}/v.mp4", None, overwrite=False, log=LOG)
    monkeypatch.undo()
    assert "could not be found out" in caplog.text
    assert nothing_left(tmp_path)


# --- arguments that cannot have been meant ----------------------------------------------------------------------------


def test_create_operator_refuses_multiple_outputs(make_operator: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r": multiple_outputs=True cannot be used.*returns a string"):
        make_operator(multiple_outputs=True)
    with (
        pytest.raises(InvalidRequestError, match=r": multiple_outputs=True"),
        DAG("d", schedule=None, default_args={"multiple_outputs": True}),
    ):
        make_operator()


def test_download_operator_refuses_multiple_outputs() -> None:
    with pytest.raises(InvalidRequestError, match=r": multiple_outputs=True"):
        DownloadDigitalHumanVideoOperator(task_id="d", video_task_id="v", destination="/d/", multiple_outputs=True)


def test_sensor_takes_multiple_outputs() -> None:
    sensor = DigitalHumanVideoSensor(task_id="wait", video_task_id="v", multiple_outputs=True)
    assert sensor.multiple_outputs  # it returns a dict


def test_mapped_create_operator_with_multiple_outputs_sends_nothing() -> None:
    with DAG("d", schedule=None):
        mapped = CreateDigitalHumanVideoOperator.partial(
            task_id="create", video_url="https://media.example.com/v.mp4", multiple_outputs=True
        ).expand(audio_url=["https://media.example.com/a.mp3"])
    with pytest.raises(InvalidRequestError, match=r": multiple_outputs=True"):
        mapped.unmap({"audio_url": "https://media.example.com/a.mp3"})


@pytest.mark.parametrize("lacking", ["wait_for_completion", "deferrable"])
def test_create_operator_refuses_end_from_trigger_without_deferred_wait(make_operator: Any, lacking: str) -> None:
    waits = {"wait_for_completion": True, "deferrable": True}
    with pytest.raises(InvalidRequestError, match=f": end_from_trigger=True cannot be used without {lacking}=True"):
        make_operator(end_from_trigger=True, **(waits | {lacking: False}))
    assert make_operator(end_from_trigger=True, **waits).end_from_trigger


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"deferrable": True}, "deferrable=True without effect"),
        ({"timeout": 60}, "timeout=60 without effect"),
        ({"poll_interval": 6}, "poll_interval=6 without effect"),
        ({"deferrable": True, "timeout": 60}, "deferrable=True, timeout=60 without effect"),
    ],
)
@pytest.mark.parametrize("by_default_args", [False, True])
def test_log_names_arguments_without_effect_of_a_task_that_does_not_wait(
    connect: Any,
    serve: Any,
    context: Any,
    make_operator: Any,
    everything_logged: Any,
    arguments: dict[str, Any],
    named: str,
    by_default_args: bool,
) -> None:
    server = serve(answering(ACCEPTED))
    connect(server.url)
    with DAG("d", schedule=None, default_args=arguments if by_default_args else {}):
        operator = make_operator(**({} if by_default_args else arguments))
    assert operator.execute(context) == "abc"
    assert server.posts == 1
    lines = [line for line in everything_logged().splitlines() if "does not wait for the video" in line]
    assert lines
    assert all(named in line for line in lines)


@pytest.mark.parametrize("arguments", [{}, {**WAITING, "deferrable": False}])
def test_log_is_silent_about_arguments_where_none_is_without_effect(
    connect: Any, serve: Any, context: Any, make_operator: Any, everything_logged: Any, arguments: dict[str, Any]
) -> None:
    connect(serve(answering(ACCEPTED, PROCESSING)).url)
    with suppress(WaitTimeoutError):
        make_operator(**{"deferrable": False, **arguments}).execute(context)
    assert "does not wait for the video" not in everything_logged()
