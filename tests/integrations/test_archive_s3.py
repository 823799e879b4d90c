"""Archiving into a real S3 server (moto's) through Airflow's own connection: nothing half-written, nothing dangling."""

import gc
import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.archive import conditional_write, object_store
from airflow_provider_digitalhuman.archive import place as place_module
from airflow_provider_digitalhuman.archive import stores as archive_stores
from airflow_provider_digitalhuman.archive.archiving import archive_video
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import DownloadError, DownloadRefusedError, InvalidRequestError
from tests.support.file_server import serving, status, whole

SMALL = os.urandom(300_000)
LARGE = os.urandom(20_000_000)
"""Three parts and a bit."""
ARCHIVE_ONCE = Path(__file__).parents[1] / "support" / "archive_once.py"
LOG = logging.getLogger("test.s3")


class Conditions:
    """In front of moto: one request at a time, so that it checks a condition and stores in one step, as S3 does.

    :param heeds: what becomes of ``If-None-Match``: True: moto sees to it; False: as if it were not there;
        None: 501, as older stores with S3's interface answer.
    :param conditional: the methods of the requests that had it.
    """

    heeds: bool | None = True

    def __init__(self) -> None:
        self.conditional: list[str] = []
        self._turn = threading.Lock()
        self._app = None

    def in_front_of(self, app):
        self._app = app
        return self

    def __call__(self, environ, start_response):
        if environ.get("HTTP_IF_NONE_MATCH") == "*":
            self.conditional.append(environ["REQUEST_METHOD"])
            if not self.heeds:
                del environ["HTTP_IF_NONE_MATCH"]
            if self.heeds is None:
                environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                start_response("501 Not Implemented", [("Content-Type", "application/xml")])
                return [b"<Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>"]
        with self._turn:
            return list(self._app(environ, start_response))


@pytest.fixture(scope="module")
def in_front():
    return Conditions()


@pytest.fixture
def conditions(in_front):
    in_front.conditional.clear()
    yield in_front
    in_front.heeds = True


@pytest.fixture(scope="module")
def endpoint(in_front):
    from moto.moto_server import threaded_moto_server
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        make = threaded_moto_server.make_server
        patch.setattr(
            threaded_moto_server,
            "make_server",
            lambda host, port, app, *args, **named: make(host, port, in_front.in_front_of(app), *args, **named),
        )
        yield from _moto(ThreadedMotoServer)


def _moto(server_class):
    server = server_class(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint, monkeypatch):
    import boto3
    from airflow.sdk.io import store

    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_STORAGE", json.dumps(connection))
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket="videos")
    yield client
    for upload in dangling(client):
        client.abort_multipart_upload(Bucket="videos", Key=upload["Key"], UploadId=upload["UploadId"])
    for one in keys(client):
        client.delete_object(Bucket="videos", Key=one)
    client.delete_bucket(Bucket="videos")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(conditional_write, "SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr(archive, "time", SimpleNamespace(sleep=lambda _: None, monotonic=archive.time.monotonic))


def keys(s3) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket="videos").get("Contents", [])]


def dangling(s3) -> list[dict]:
    return s3.list_multipart_uploads(Bucket="videos").get("Uploads", [])


def body(s3, key="a/v-1.mp4") -> bytes:
    return s3.get_object(Bucket="videos", Key=key)["Body"].read()


def run(server, content, destination="s3://videos/a/", **options):
    task = VideoTask(
        id="v-1", status="completed", md5=hashlib.md5(content).hexdigest(), video_url=server.url("/v.mp4?sig=topsecret")
    )
    options = {"storage_conn_id": "storage", "log": LOG, "access": FileAccess(), "allow_private_hosts": True} | options
    return archive_video(lambda: task, destination, **options)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_video_becomes_one_whole_object(s3, content):
    with serving(content) as server:
        archived = run(server, content)
        assert archived.path == "s3://storage@videos/a/v-1.mp4"
        assert archived.uri == "s3://videos/a/v-1.mp4"
        assert ObjectStoragePath(archived.path).read_bytes() == content
        assert body(s3) == content
        again = run(server, content)
        assert again.already_there
        assert len(server.asked) == 1
    assert dangling(s3) == []


def test_the_connection_can_be_named_in_the_destination(s3):
    with serving(SMALL) as server:
        archived = run(server, SMALL, "s3://storage@videos/a/v-1.mp4", storage_conn_id=None)
    assert archived.path == "s3://storage@videos/a/v-1.mp4"
    assert body(s3) == SMALL


def test_a_broken_transfer_goes_on_in_the_same_upload(s3):
    with serving(LARGE) as server:
        server.script = [whole(server, cut=9_000_000), whole(server, cut=3_000_000)]
        run(server, LARGE)
        assert server.offsets == [0, 9_000_000, 12_000_000]
    assert body(s3) == LARGE
    assert dangling(s3) == []


def test_a_wrong_file_is_never_an_object(s3):
    with serving(LARGE) as server:
        server.script = [status(200, bytes(len(LARGE)), Content_Type="video/mp4")]
        run(server, LARGE)
    assert body(s3) == LARGE
    assert dangling(s3) == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", ["cut", "md5", "gone", "killed"])
def test_after_a_failure_nothing_is_there(s3, content, fault, monkeypatch):
    class KilledError(BaseException):
        """As Airflow's time-out: no Exception."""

    expected: type[BaseException] = DownloadError
    with serving(content) as server:
        if fault == "cut":
            server.script = [whole(server, cut=len(content) - 1, ranges=False) for _ in range(20)]
        elif fault == "md5":
            server.script = [status(200, bytes(len(content)), Content_Type="video/mp4")] * 20
        elif fault == "gone":
            server.script = [whole(server, cut=len(content) - 1)] + [status(404)] * 20
        else:
            from airflow_provider_digitalhuman.archive.object_store import ObjectSink

            monkeypatch.setattr(ObjectSink, "_publish", lambda *_: (_ for _ in ()).throw(KilledError))
            expected = KilledError
        with pytest.raises(expected):
            run(server, content)
    gc.collect()  # fsspec publishes what is collected as garbage, unless it is kept from that
    assert keys(s3) == []
    assert dangling(s3) == []


def test_memory_stays_flat(s3):
    count, block = 100, bytes(1024 * 1024)
    md5 = hashlib.md5()
    for _ in range(count):
        md5.update(block)

    def stream(asked, caller):
        caller.head(200, Content_Length=count * len(block), Content_Type="video/mp4")
        for _ in range(count):
            caller.send(block)

    with serving() as server:
        server.script = [stream]
        program = [sys.executable, str(ARCHIVE_ONCE), server.url(), md5.hexdigest(), "s3://videos/v.mp4", "storage"]
        told = subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    memory = json.loads(told)
    assert s3.head_object(Bucket="videos", Key="v.mp4")["ContentLength"] == count * len(block)
    assert memory["peak"] - memory["idle"] <= 64 * 1024 * 1024  # two thirds of it is the S3 client itself


def test_a_store_that_fails_is_told_and_leaves_nothing(s3, endpoint, monkeypatch):
    from s3fs.core import S3File

    def fails(self, **_):
        raise OSError("the store is out of order")

    monkeypatch.setattr(S3File, "commit", fails)
    with (
        serving(LARGE) as server,
        pytest.raises(DownloadError, match=r"a/v-1\.mp4 could not be.*out of order"),
    ):
        run(server, LARGE)
    monkeypatch.undo()
    gc.collect()
    assert keys(s3) == []


def test_an_upload_that_breaks_in_the_middle_is_taken_back(s3, monkeypatch):
    from s3fs.core import S3File

    call, parts = S3File._call_s3, []

    def fails(self, method, *args, **named):
        if method == "upload_part":
            parts.append(method)
            if len(parts) == 2:
                raise OSError("out of order")
        return call(self, method, *args, **named)

    monkeypatch.setattr(S3File, "_call_s3", fails)
    with serving(LARGE) as server, pytest.raises(DownloadError, match="out of order"):
        run(server, LARGE)
    gc.collect()
    assert keys(s3) == []
    assert dangling(s3) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_object_is_replaced_only_where_that_is_wanted(s3, overwrite):
    s3.put_object(Bucket="videos", Key="a/v-1.mp4", Body=b"precious")
    with serving(LARGE) as server:
        if overwrite:
            run(server, LARGE, overwrite=True)
            assert body(s3) == LARGE
        else:
            with pytest.raises(DownloadRefusedError, match="overwrite=True"):
                run(server, LARGE)
            assert body(s3) == b"precious"
            assert server.asked == []


def test_an_old_object_stays_where_the_new_one_fails(s3):
    s3.put_object(Bucket="videos", Key="a/v-1.mp4", Body=b"old")
    with serving(LARGE) as server:
        server.script = [whole(server, cut=len(LARGE) - 1, ranges=False) for _ in range(20)]
        with pytest.raises(DownloadError):
            run(server, LARGE, overwrite=True)
    gc.collect()
    assert body(s3) == b"old"


def test_an_object_that_appears_meanwhile_is_left_as_it_is(s3):
    with serving(LARGE) as server:

        def late(asked, caller):
            s3.put_object(Bucket="videos", Key="a/v-1.mp4", Body=b"precious")
            whole(server)(asked, caller)

        server.script = [late]
        with pytest.raises(DownloadRefusedError, match="has appeared"):
            run(server, LARGE)
    assert body(s3) == b"precious"
    assert dangling(s3) == []


TWO_PARTS = os.urandom(6_000_000)


def two_at_once(monkeypatch, content: bytes) -> tuple[dict, dict]:
    """Archive two videos to one key, both of which find it free right before they publish; return what came of each."""
    both, mine, outcomes, errors = threading.Barrier(2), threading.local(), {}, {}
    there = place_module.is_there

    def together(place):
        found = there(place)
        mine.looks = getattr(mine, "looks", 0) + 1
        if mine.looks == 2:
            both.wait(180)
        return found

    for module in (place_module, object_store):
        monkeypatch.setattr(module, "is_there", together)
    monkeypatch.setattr(archive_stores, "time", SimpleNamespace(sleep=lambda _: both.wait(180)))
    contents = {"v-1": b"1" + content, "v-2": b"2" + content}

    def archive_one(name: str, server) -> None:
        task = VideoTask(name, "completed", md5=hashlib.md5(server.content).hexdigest(), video_url=server.url())
        try:
            archive_video(
                lambda: task,
                "s3://videos/a/v-1.mp4",
                storage_conn_id="storage",
                log=LOG,
                access=FileAccess(),
                allow_private_hosts=True,
            )
            outcomes[name] = server.content
        except DownloadRefusedError as error:
            both.abort()  # of the other's second look, which waits for nobody then
            errors[name] = error

    with serving(contents["v-1"]) as one, serving(contents["v-2"]) as two:
        threads = [threading.Thread(target=archive_one, args=pair) for pair in (("v-1", one), ("v-2", two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
    monkeypatch.undo()
    return outcomes, errors


@pytest.mark.parametrize("_round", range(3))
@pytest.mark.parametrize(("content", "method"), [(SMALL, "PUT"), (TWO_PARTS, "POST")], ids=["PutObject", "Complete"])
def test_two_different_videos_at_one_key_are_not_both_stored(s3, conditions, monkeypatch, content, method, _round):
    monkeypatch.setattr(conditional_write, "is_checked_when_published", lambda _: True)  # as at AWS: no second look
    stored, refused = two_at_once(monkeypatch, content)
    assert len(stored) == len(refused) == 1
    assert "Another file has appeared" in str(*refused.values())
    assert [body(s3)] == list(stored.values())
    assert conditions.conditional == [method, method]
    assert dangling(s3) == []


@pytest.mark.parametrize("heeds", [None, False], ids=["answers 501", "ignores it"])
@pytest.mark.parametrize("content", [SMALL, TWO_PARTS], ids=["PutObject", "Complete"])
def test_two_different_videos_are_not_both_stored_where_the_condition_is_unknown(
    s3, conditions, monkeypatch, content, heeds
):
    conditions.heeds = heeds
    stored, refused = two_at_once(monkeypatch, content)
    assert len(stored) == len(refused) == 1
    assert "another file is there" in str(*refused.values())
    assert [body(s3)] == list(stored.values())
    assert dangling(s3) == []


def test_same_video_at_one_key_is_stored_twice_without_complaint(s3, conditions):
    with serving(SMALL) as server:

        def late(asked, caller):
            s3.put_object(Bucket="videos", Key="a/v-1.mp4", Body=SMALL)
            whole(server)(asked, caller)

        server.script = [late]
        assert run(server, SMALL).already_there
    assert body(s3) == SMALL


def test_overwriting_sends_no_condition(s3, conditions):
    s3.put_object(Bucket="videos", Key="a/v-1.mp4", Body=b"old")
    with serving(SMALL) as server:
        run(server, SMALL, overwrite=True)
    assert body(s3) == SMALL
    assert conditions.conditional == []


def test_a_bucket_that_is_not_there(s3):
    with serving(SMALL) as server, pytest.raises(DownloadError, match=r"nowhere/v-1\.mp4 could not be"):
        run(server, SMALL, "s3://nowhere/")


def test_an_object_store_that_is_not_there(s3, monkeypatch):
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    extra = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    extra["config_kwargs"] = {"retries": {"total_max_attempts": 1}, "connect_timeout": 2}
    connection = {"conn_type": "aws", "login": "testing", "password": "not-shown", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(connection))
    with serving(SMALL) as server, pytest.raises(DownloadError, match="could not be read or written") as failed:
        run(server, SMALL, storage_conn_id="away")
    assert server.asked == []
    assert "not-shown" not in str(failed.value)


def test_a_store_that_nothing_is_installed_for(s3):
    with serving(SMALL) as server, pytest.raises(InvalidRequestError, match="Install the provider of this store"):
        run(server, SMALL, "nosuch://videos/")
