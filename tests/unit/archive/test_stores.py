"""Stores other than local files and S3: what is moved into place, and what is committed by being closed."""

import gc
import hashlib
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive import archiving, conditional_write, moved_file, object_store
from airflow_provider_digitalhuman.archive import place as place_module
from airflow_provider_digitalhuman.archive import stores as archive_stores
from airflow_provider_digitalhuman.archive.archiving import ArchivedVideo, archive_video
from airflow_provider_digitalhuman.archive.moved_file import MovedSink
from airflow_provider_digitalhuman.archive.object_store import ObjectSink
from airflow_provider_digitalhuman.archive.place import FileFacts, Place, is_there, open_place, read_facts
from airflow_provider_digitalhuman.archive.sink import TakenError
from airflow_provider_digitalhuman.archive.stores import check_published, open_sink
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import DownloadError, DownloadRefusedError
from airflow_provider_digitalhuman.support.compat import AIRFLOW
from tests.support.file_server import FileServer, serving

if AIRFLOW >= (3, 0):
    from airflow.sdk.io import store as stores
else:
    from airflow.io import store as stores

CONTENT = os.urandom(20_000_000)
LOG = logging.getLogger("test.stores")


class BlockFile(AbstractBufferedFile):
    """Like Azure's: blocks go up one by one, and closing commits the list of them."""

    def _initiate_upload(self):
        self.blocks = []

    def _upload_chunk(self, final=False):
        self.blocks.append(self.buffer.getvalue())
        if final:
            self.fs.blobs[self.path] = b"".join(self.blocks)
        return True

    def _fetch_range(self, start, end):
        return self.fs.blobs[self.path][start:end]


class BlockFileSystem(AbstractFileSystem):
    protocol = "abfs"
    cachable = False

    def __init__(self):
        super().__init__()
        self.blobs: dict[str, bytes] = {}

    def _open(self, path, mode="rb", **options):
        return BlockFile(self, path, mode, **{k: v for k, v in options.items() if k in ("block_size", "autocommit")})

    def info(self, path, **_):
        if path not in self.blobs:
            raise FileNotFoundError(path)
        return {"name": path, "type": "file", "size": len(self.blobs[path])}


@pytest.fixture
def block_path(monkeypatch) -> Place:
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    stores.attach("abfs", fs=BlockFileSystem())
    return open_place("abfs://container/a/v.mp4")


@pytest.fixture
def memory_path(monkeypatch) -> Place:
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    stores.attach("memory", fs=MemoryFileSystem())
    return open_place("memory://folder/a/v.mp4")


def written(path: Place, sink) -> None:
    for start in range(0, len(CONTENT), 1_000_000):
        sink.write(CONTENT[start : start + 1_000_000])


def names(path: Place) -> list[str]:
    fs = path.fs
    return sorted(fs.blobs) if isinstance(fs, BlockFileSystem) else sorted(fs.find("/"))


@pytest.fixture(params=["block_path", "memory_path"])
def path(request) -> Place:
    return request.getfixturevalue(request.param)


def test_each_store_has_its_way(block_path, memory_path):
    assert isinstance(open_sink(open_place("memory://folder/a/v.mp4"), 10, LOG), MovedSink)


def test_an_object_store_has_parts_enough_for_the_largest_file(block_path):
    sink = open_sink(block_path, 500 * 1024**3, LOG)
    assert isinstance(sink, ObjectSink)
    assert sink._part_size * 10_000 > 500 * 1024**3
    assert open_sink(block_path, 10 * 1024**3, LOG)._part_size == 5 * 1024**2


def test_nothing_is_visible_before_it_is_published(path):
    with open_sink(path, 10**9, LOG) as sink:
        written(path, sink)
        assert path.path not in names(path)
        sink.publish()
    [name] = names(path)
    assert name == path.path
    assert read_facts(path, overwrite=False) == FileFacts(len(CONTENT), hashlib.md5(CONTENT).hexdigest())


def test_what_is_not_published_is_gone(path):
    with open_sink(path, 10**9, LOG) as sink:
        written(path, sink)
    gc.collect()  # fsspec publishes what is collected as garbage
    assert names(path) == []


def test_a_restart_begins_with_an_empty_file(path):
    with open_sink(path, 10**9, LOG) as sink:
        written(path, sink)
        sink.restart()
        sink.write(b"new")
        sink.publish()
    gc.collect()
    assert names(path) == [path.path]
    assert path.fs.info(path.path)["size"] == 3


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_there_is_replaced_only_where_that_is_wanted(path, overwrite):
    with open_sink(path, 10**9, LOG) as sink:
        sink.write(b"first")
        sink.publish()
    with open_sink(path, 10**9, LOG, overwrite=overwrite) as sink:
        sink.write(b"second!")
        if overwrite:
            sink.publish()
        else:
            with pytest.raises(TakenError):
                sink.publish()
    assert names(path) == [path.path]
    assert path.fs.info(path.path)["size"] == (7 if overwrite else 5)


def test_where_a_file_cannot_be_replaced_it_stays(memory_path, monkeypatch):
    with open_sink(memory_path, 10**9, LOG) as sink:
        sink.write(b"first")
        sink.publish()
    move = MemoryFileSystem.mv

    def refuse_the_new_one(self, path1, path2, **options):
        if path2 == memory_path.path and path1.endswith(".part"):
            raise OSError("the connection is lost")
        move(self, path1, path2, **options)

    monkeypatch.setattr(MemoryFileSystem, "mv", refuse_the_new_one)
    with open_sink(memory_path, 10**9, LOG, overwrite=True) as sink:
        sink.write(b"second!")
        with pytest.raises(DownloadError, match="connection is lost"):
            sink.publish()
    assert names(memory_path) == [memory_path.path]
    assert memory_path.fs.cat(memory_path.path) == b"first"


def test_a_store_that_cannot_take_back_does_not_hide_why(block_path, monkeypatch, caplog):
    monkeypatch.setattr(BlockFile, "discard", lambda self: 1 / 0)
    with suppress(KeyError), open_sink(block_path, 10**9, LOG) as sink:
        sink.write(b"some")
        raise KeyError
    gc.collect()
    assert names(block_path) == []
    assert "could not be removed: division by zero" in caplog.text


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_store_that_forbids_to_look(block_path, monkeypatch, overwrite):
    def forbidden(self, path, **_):
        raise PermissionError("s3:ListBucket")

    monkeypatch.setattr(BlockFileSystem, "info", forbidden)
    if overwrite:
        assert read_facts(block_path, overwrite=True) is None
    else:
        with pytest.raises(DownloadError, match=r"could not be read.*ListBucket"):
            read_facts(block_path, overwrite=False)


def test_a_local_file_keeps_its_name_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def unsupported(self, target):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    path = open_place(f"file://{tmp_path}/v.mp4")
    for content in (b"first", b"second"):
        with open_sink(path, 10**9, LOG) as sink:
            sink.write(content)
            if content == b"first":
                sink.publish()
            else:
                with pytest.raises(TakenError):
                    sink.publish()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("v.mp4", b"first")]


# Two videos, one name, overwrite=False


@pytest.mark.parametrize("library", ["s3fs", "gcsfs", "adlfs"])
@pytest.mark.parametrize(("version", "sends"), [("2024.12.0", True), ("2026.9.0", True), ("2024.10.0", False)])
def test_condition_is_sent_by_libraries_that_know_it(monkeypatch, library, version, sends):
    fs = library_fs(library)
    monkeypatch.setattr(conditional_write, "version", {library: version}.__getitem__)
    assert conditional_write.sends_condition(fs) is sends
    if library == "s3fs":
        fs.s3.meta.service_model.members = ("Bucket",)  # an old botocore
        assert not conditional_write.sends_condition(fs)


def library_fs(library: str, endpoint: str = "https://s3.eu-west-1.amazonaws.com"):
    """A file system as ``library`` makes it, as far as it is looked at."""
    model = SimpleNamespace(members=("Bucket", "IfNoneMatch"))
    model.operation_model = lambda _: SimpleNamespace(input_shape=SimpleNamespace(members=model.members))
    kind = type("FileSystem", (AbstractFileSystem,), {"__module__": f"{library}.core", "cachable": False})
    fs = type("Own", (kind,), {"__module__": "own"})()
    fs.s3 = SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint, service_model=model))
    return fs


@pytest.mark.parametrize(
    ("library", "endpoint", "checked"),
    [
        ("s3fs", "https://s3.amazonaws.com", True),
        ("s3fs", "https://s3.cn-north-1.amazonaws.com.cn", True),
        ("s3fs", "http://127.0.0.1:9000", False),
        ("s3fs", "https://amazonaws.com.example.com", False),
        ("adlfs", "", True),
        ("gcsfs", "", False),
    ],
)
def test_store_that_checks_the_condition_late_needs_no_second_look(library, endpoint, checked):
    assert conditional_write.is_checked_when_published(library_fs(library, endpoint)) is checked


def test_store_without_a_condition_does_not_promise_that_nothing_was_replaced(path):
    with open_sink(path, 10**9, LOG) as sink:
        sink.write(b"first")
        assert sink.publish() is False


def test_local_file_is_promised_to_have_replaced_none(tmp_path, monkeypatch):
    for name, can_link in (("a", True), ("b", False)):
        if not can_link:
            monkeypatch.setattr(Path, "hardlink_to", lambda *_: os.listdir("/nowhere"))
        with open_sink(open_place(f"file://{tmp_path}/{name}"), 10, LOG) as sink:
            sink.write(b"first")
            assert sink.publish() is can_link


@pytest.mark.parametrize("content", [b"of another task", None])
def test_second_look_that_finds_another_file_fails_for_good(memory_path, monkeypatch, content):
    pauses: list[float] = []
    monkeypatch.setattr(archive_stores, "time", SimpleNamespace(sleep=pauses.append))
    md5 = hashlib.md5(b"mine").hexdigest()
    memory_path.fs.pipe(memory_path.path, b"mine")
    check_published(memory_path, FileFacts(4, md5), 0.1, "v-1")
    memory_path.fs.rm(memory_path.path)
    if content:
        memory_path.fs.pipe(memory_path.path, content)
    with pytest.raises(DownloadRefusedError, match=r"The file of video task v-1.*video_task_id='v-1'") as refused:
        check_published(memory_path, FileFacts(4, md5), 10, "v-1")
    assert refused.value.ends_retries
    assert pauses == [2.0, 20]
    if content:
        assert memory_path.fs.cat(memory_path.path) == content


@pytest.mark.parametrize("content", [CONTENT[:1000], CONTENT])
@pytest.mark.parametrize("store", ["block_path", "memory_path"])
def test_two_different_videos_at_one_name_of_a_store_without_condition_are_not_both_stored(
    request, monkeypatch, store, content
):
    """Both find the name free and publish; the second look, after both, tells the one whose video is gone."""
    place = request.getfixturevalue(store)
    both, look, outcomes = threading.Barrier(2), threading.local(), {}
    one_reader = threading.Lock()

    def read_alone(*args, **named):  # the store in memory has one position for all readers
        with one_reader:
            return read_facts(*args, **named)

    def together(asked: Place) -> bool:
        found = is_there(asked)
        look.count = getattr(look, "count", 0) + 1
        if look.count == 2:  # right before it publishes
            both.wait(180)
        return found

    for module in (place_module, object_store, moved_file):
        monkeypatch.setattr(module, "is_there", together)
    for module in (archiving, archive_stores):
        monkeypatch.setattr(module, "read_facts", read_alone)
    move = MemoryFileSystem.mv

    def move_alone(*args, **named):  # its dictionary must not change while the other one goes through it
        with one_reader:
            move(*args, **named)

    monkeypatch.setattr(MemoryFileSystem, "mv", move_alone)
    monkeypatch.setattr(archive_stores, "time", SimpleNamespace(sleep=lambda _: both.wait(180)))

    def archive_one(name: str, server: FileServer) -> None:
        task = VideoTask(name, "completed", md5=hashlib.md5(server.content).hexdigest(), video_url=server.url())
        try:
            outcomes[name] = archive_video(
                lambda: task, place.uri, log=LOG, access=FileAccess(), allow_private_hosts=True
            )
        except DownloadRefusedError as error:
            outcomes[name] = error
        except BaseException:
            both.abort()  # nobody waits for a thread that has failed
            raise

    with serving(b"1" + content) as one, serving(b"2" + content) as two:
        threads = [threading.Thread(target=archive_one, args=pair) for pair in (("v-1", one), ("v-2", two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
    stored = [outcome for outcome in outcomes.values() if isinstance(outcome, ArchivedVideo)]
    (refused,) = [error for error in outcomes.values() if isinstance(error, DownloadRefusedError)]
    assert read_facts(place, overwrite=False) == FileFacts(stored[0].size, stored[0].md5)
    assert "another file is there" in str(refused)


def test_a_very_long_name_has_room_for_the_temporary_one(tmp_path):
    path = open_place(f"file://{tmp_path}/{'x' * 250}.mp4")
    with open_sink(path, 10**9, LOG) as sink:
        sink.write(b"some")
        sink.publish()
    assert [len(one.name) for one in tmp_path.iterdir()] == [254]
