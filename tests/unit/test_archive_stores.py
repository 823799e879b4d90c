"""Stores other than local files and S3: what is moved into place, and what is committed by being closed."""

import gc
import hashlib
import logging
import os
from contextlib import suppress

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from airflow_provider_digitalhuman.archive_stores import (
    MovedSink,
    ObjectSink,
    Place,
    TakenError,
    open_sink,
    open_store,
    size_and_md5,
)
from airflow_provider_digitalhuman.compat import AIRFLOW
from airflow_provider_digitalhuman.exceptions import DownloadError

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
    return open_store("abfs://container/a/v.mp4")


@pytest.fixture
def memory_path(monkeypatch) -> Place:
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    stores.attach("memory", fs=MemoryFileSystem())
    return open_store("memory://folder/a/v.mp4")


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
    assert isinstance(open_sink(open_store("memory://folder/a/v.mp4"), 10, LOG), MovedSink)


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
    assert size_and_md5(path, overwrite=False) == (len(CONTENT), hashlib.md5(CONTENT).hexdigest())


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
        assert size_and_md5(block_path, overwrite=True) is None
    else:
        with pytest.raises(DownloadError, match=r"could not be read.*ListBucket"):
            size_and_md5(block_path, overwrite=False)


def test_a_local_file_keeps_its_name_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def unsupported(self, target):
        raise OSError(95, "Operation not supported")

    from airflow_provider_digitalhuman import archive_stores

    monkeypatch.setattr(archive_stores.Path, "hardlink_to", unsupported)
    path = open_store(f"file://{tmp_path}/v.mp4")
    for content in (b"first", b"second"):
        with open_sink(path, 10**9, LOG) as sink:
            sink.write(content)
            if content == b"first":
                sink.publish()
            else:
                with pytest.raises(TakenError):
                    sink.publish()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("v.mp4", b"first")]


def test_a_very_long_name_has_room_for_the_temporary_one(tmp_path):
    path = open_store(f"file://{tmp_path}/{'x' * 250}.mp4")
    with open_sink(path, 10**9, LOG) as sink:
        sink.write(b"some")
        sink.publish()
    assert [len(one.name) for one in tmp_path.iterdir()] == [254]
