"""What is not archived: forbidden addresses, too large files, other files in the way, tasks without a video."""

import errno
import logging
import os
import time
from types import SimpleNamespace

import pytest

from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.archive import download, local_file
from airflow_provider_digitalhuman.archive.archiving import archive_video
from airflow_provider_digitalhuman.archive.sink import temporary_name
from airflow_provider_digitalhuman.connection import fetching
from airflow_provider_digitalhuman.exceptions import (
    DownloadError,
    DownloadRefusedError,
    InvalidRequestError,
    VideoFailedError,
    VideoUrlMissingError,
)
from tests.support.archiving import CONTENT, DIRECT, LOG, MD5, Api, cut, nothing_left, run
from tests.support.file_server import Asked, Caller, FileServer, serving, status, whole


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(archive, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    return waits


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


# Addresses and sizes


@pytest.mark.parametrize("content_length", [10**12, None])
def test_there_is_a_ceiling_on_the_size(server, tmp_path, content_length):
    server.script = [status(200, CONTENT, Content_Length=content_length, Content_Type="video/mp4")] * 3
    with pytest.raises(DownloadRefusedError, match="max_bytes=2,000,000"):
        run(Api(server), tmp_path, max_bytes=2_000_000)
    assert len(server.asked) == 1
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/v.mp4",
        "http://127.1/v.mp4?X-Signature=topsecret",
        "http://[::ffff:10.0.0.1]/v.mp4",
        "http://169.254.169.254/latest/meta-data",
        "https://intranet/v.mp4",
        "file:///etc/passwd",
        "ftp://example.com/v.mp4",
        "//example.com/v.mp4",
        "http://exa mple.com:port/",
    ],
)
def test_addresses_that_are_not_asked(tmp_path, url):
    api = Api(FileServer(), video_url=url)
    with pytest.raises(DownloadRefusedError) as refused:
        run(api, tmp_path, allow_private_hosts=False)
    assert "topsecret" not in str(refused.value)
    assert nothing_left(tmp_path)


def test_a_public_name_of_a_private_address_is_not_asked(server, tmp_path, monkeypatch):
    lookup = fetching.socket.getaddrinfo
    monkeypatch.setattr(
        fetching.socket, "getaddrinfo", lambda host, *args, **named: lookup("127.0.0.1", *args, **named)
    )
    url = f"http://videos.example.com:{server.port}/v.mp4"
    with pytest.raises(DownloadRefusedError, match=r"private address 127\.0\.0\.1"):
        run(Api(server, video_url=url), tmp_path, allow_private_hosts=False)
    assert server.asked == []
    assert fetching.reaches_private_network(url)
    assert run(Api(server, video_url=url), tmp_path).md5 == MD5


def test_a_redirect_does_not_lead_into_the_private_network(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "is_private_host", lambda host: host == "10.0.0.1")
    server.script = [status(302, Location="http://10.0.0.1/v.mp4")]
    with pytest.raises(DownloadRefusedError, match=r"10\.0\.0\.1"):
        run(Api(server), tmp_path, allow_private_hosts=False)


def test_redirects_end(server, tmp_path):
    server.script = [status(302, Location="/again?X-Signature=topsecret")] * 100
    with pytest.raises(DownloadError, match="more than 5 redirects") as failed:
        run(Api(server), tmp_path)
    assert "topsecret" not in str(failed.value)


@pytest.mark.parametrize("location", [None, "", "http://[bad/?X-Signature=topsecret"])
def test_a_redirect_to_nowhere_asks_for_a_fresh_url(server, tmp_path, location):
    server.script = [status(302, Location=location)]
    api = Api(server)
    run(api, tmp_path)
    assert api.asked == 2


# What is at the destination already


def test_running_again_does_nothing(server, tmp_path):
    first = run(Api(server), tmp_path)
    written = (tmp_path / "out.mp4").stat().st_mtime_ns
    again = run(Api(server), tmp_path)
    assert again.already_there
    assert (again.path, again.size, again.md5) == (first.path, first.size, first.md5)
    assert len(server.asked) == 1
    assert (tmp_path / "out.mp4").stat().st_mtime_ns == written


def test_running_again_tidies_up_after_a_process_that_died_once_the_file_had_its_name(server, tmp_path):
    run(Api(server), tmp_path)
    (tmp_path / ".out.mp4.00000000.part").hardlink_to(tmp_path / "out.mp4")
    (tmp_path / ".other.mp4.00000000.part").write_bytes(b"another file's")
    assert run(Api(server), tmp_path).already_there
    assert {one.name for one in tmp_path.iterdir()} == {"out.mp4", ".other.mp4.00000000.part"}


def test_running_again_without_an_md5_compares_with_what_is_fetched(server, tmp_path):
    run(Api(server, md5=None), tmp_path)
    assert run(Api(server, md5=None), tmp_path).already_there
    assert [one.name for one in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("md5", [MD5, None], ids=["MD5 reported", "no MD5"])
def test_another_file_is_left_as_it_is(server, tmp_path, md5):
    (tmp_path / "out.mp4").write_bytes(b"precious")
    with pytest.raises(DownloadRefusedError, match=r"another file.*overwrite=True"):
        run(Api(server, md5=md5), tmp_path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", b"precious")]


@pytest.mark.parametrize("md5", [MD5, None], ids=["MD5 reported", "no MD5"])
def test_another_file_is_replaced_where_that_is_wanted(server, tmp_path, md5):
    (tmp_path / "out.mp4").write_bytes(b"old")
    run(Api(server, md5=md5), tmp_path, overwrite=True)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", CONTENT)]


def test_an_old_file_stays_until_the_new_one_is_whole(server, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"old")
    server.script = [cut(server, 1000, ranges=False) for _ in range(20)]
    with pytest.raises(DownloadError):
        run(Api(server), tmp_path, overwrite=True)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", b"old")]


def test_a_file_that_appears_meanwhile_is_left_as_it_is(server, tmp_path):
    def late(asked: Asked, caller: Caller) -> None:
        (tmp_path / "out.mp4").write_bytes(b"precious")
        whole(server)(asked, caller)

    server.script = [late]
    with pytest.raises(DownloadRefusedError, match="has appeared"):
        run(Api(server), tmp_path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", b"precious")]


def test_a_folder_is_in_the_way(server, tmp_path):
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(DownloadRefusedError, match="is a folder"):
        run(Api(server), tmp_path)


# The task and the store


def test_a_failed_task_has_no_video(server, tmp_path):
    with pytest.raises(VideoFailedError, match="风控拒绝"):
        run(Api(server, status="failed", error="风控拒绝"), tmp_path)


def test_an_unfinished_task_must_be_waited_for(server, tmp_path):
    with pytest.raises(DownloadError, match=r"processing.*DigitalHumanVideoSensor"):
        run(Api(server, status="processing", video_url=None), tmp_path)


def test_a_url_that_comes_late_is_waited_for(server, tmp_path, no_waiting):
    late = Api(server, video_url=lambda n: None if n < 3 else server.url())
    assert run(late, tmp_path).md5 == MD5
    assert no_waiting == [5.0, 5.0]


def test_a_url_that_never_comes(server, tmp_path):
    api = Api(server, video_url=None)
    with pytest.raises(VideoUrlMissingError, match=r"names no URL.*do not submit it again"):
        run(api, tmp_path)
    assert api.asked == 4


def test_a_full_disk_is_told_and_leaves_nothing(server, tmp_path, monkeypatch):
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local_file.os, "write", full)
    with pytest.raises(DownloadError, match=r"could not be read or written: OSError.*No space left"):
        run(Api(server), tmp_path)
    assert len(server.asked) == 1
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("number", "ends_retries"),
    [
        *((number, True) for number in (errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)),
        *((number, True) for number in (errno.EACCES, errno.EPERM)),
        *((number, False) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)),
    ],
)
def test_local_place_that_stays_impossible_ends_retries(server, tmp_path, monkeypatch, number, ends_retries):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(local_file.os, "write", fails)
    with pytest.raises(DownloadError, match=os.strerror(number)) as failed:
        run(Api(server), tmp_path)
    assert failed.value.ends_retries is ends_retries
    monkeypatch.undo()
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("path", ["taken/more", "x" * 300, "taken/" + "x" * 300])
def test_local_path_that_cannot_be_ends_retries(server, tmp_path, path):
    (tmp_path / "taken").write_bytes(b"precious")
    with pytest.raises(DownloadRefusedError, match=r"could not be read or written.*choose another destination"):
        run(Api(server), tmp_path / path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("taken", b"precious")]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("made", "destination"), [("fifo", "fifo"), ("link", "link"), ("v-1", "{video_task_id}")])
def test_fifo_at_the_destination_is_refused(server, tmp_path, made, destination, overwrite):
    os.mkfifo(tmp_path / "fifo")
    if made != "fifo":
        (tmp_path / made).symlink_to("fifo")
    with pytest.raises(DownloadRefusedError, match="no regular file"):
        archive_video(
            Api(server),
            f"{tmp_path}/{destination}",
            log=LOG,
            access=DIRECT,
            allow_private_hosts=True,
            overwrite=overwrite,
        )
    assert server.asked == []


def test_folder_behind_a_dangling_link_ends_retries(server, tmp_path):
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(DownloadRefusedError, match="choose another destination"):
        run(Api(server), tmp_path / "gone")


@pytest.mark.parametrize("place", ["/sys/kernel", "/proc/nowhere/below"])
def test_read_only_file_system_ends_retries(server, place):
    with pytest.raises(DownloadRefusedError, match=r"could not be read or written.*make this one writable"):
        run(Api(server), place)  # neither root can write there


@pytest.mark.parametrize("name", ["视" * 80 + ".mp4", "é" * 125 + ".mp4", "x" * 250 + ".mp4"], ids=["3", "2", "1"])
def test_name_of_legal_length_has_room_for_the_temporary_one(server, tmp_path, name):
    server.script = [cut(server, 1000)]
    assert archive_video(Api(server), f"{tmp_path}/{name}", log=LOG, access=DIRECT, allow_private_hosts=True).md5 == MD5
    assert [one.name for one in tmp_path.iterdir()] == [name]
    leftover = tmp_path / temporary_name(name)
    leftover.write_bytes(b"")
    assert archive_video(
        Api(server), f"{tmp_path}/{name}", log=LOG, access=DIRECT, allow_private_hosts=True
    ).already_there
    assert not leftover.exists()


def test_path_object_is_taken_as_its_text(server, tmp_path):
    archived = archive_video(
        Api(server), tmp_path / "{video_task_id}.mp4", log=LOG, access=DIRECT, allow_private_hosts=True
    )
    assert archived.path == f"file://{tmp_path}/v-1.mp4"


def test_a_store_without_its_provider_is_told_before_any_byte(server, tmp_path):
    with pytest.raises(InvalidRequestError, match="Install the provider"):
        archive_video(Api(server), "nosuchstore://bucket/", log=LOG, access=DIRECT, allow_private_hosts=True)
    assert server.asked == []


class Killed(BaseException):
    """As Airflow's time-out: no Exception."""


def test_whatever_ends_it_leaves_nothing(server, tmp_path, monkeypatch):
    def killed(*_):
        raise Killed

    monkeypatch.setattr(download._ProgressReport, "update", killed)
    with pytest.raises(Killed):
        run(Api(server), tmp_path)
    assert nothing_left(tmp_path)


def test_no_signed_url_is_logged(server, tmp_path, caplog, monkeypatch):
    masked: list[str] = []
    monkeypatch.setattr(fetching, "mask_secret", masked.append)
    server.script = [cut(server, 1000), status(403), status(500), status(302, Location="/x?sig=topsecret")]
    with caplog.at_level(logging.INFO):
        run(Api(server), tmp_path)
    assert "127.0.0.1" in caplog.text
    assert "topsecret" not in caplog.text
    # What other libraries log at DEBUG is masked by Airflow.
    assert set(masked) == {"X-Signature=topsecret001", "X-Signature=topsecret002", "sig=topsecret"}


def test_a_long_transfer_tells_its_progress_at_growing_intervals(monkeypatch, caplog):
    now = 0.0
    monkeypatch.setattr(download.time, "monotonic", lambda: now)
    progress = download._ProgressReport(LOG)
    with caplog.at_level(logging.INFO):
        for now in range(0, 2000, 1):
            progress.update(now * 2**20, 2000 * 2**20)
    assert caplog.messages[0] == "Downloaded 10 of 2,000 MiB (0%) in 10 s."
    assert [line.split()[-2] for line in caplog.messages] == [
        "10",
        "30",
        "70",
        "150",
        "310",
        "610",
        "910",
        *[str(moment) for moment in range(1210, 2000, 300)],
    ]
