"""Archiving from a real HTTP server into local files: every way in which a download can go wrong."""

import hashlib
import logging
import os
import time
from types import SimpleNamespace

import pytest

from airflow_provider_digitalhuman import archive, fetching
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive import archive_video
from airflow_provider_digitalhuman.exceptions import (
    DownloadError,
    DownloadRefusedError,
    InvalidRequestError,
    VideoFailedError,
    VideoUrlMissingError,
)
from tests.unit.file_server import Asked, Caller, FileServer, serving, status, whole

CONTENT = os.urandom(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
LOG = logging.getLogger("test.archive")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(archive, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    return waits


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


class Api:
    """Stands for the hook: names the server's URL, each time a new one."""

    def __init__(self, server: FileServer, **changes) -> None:
        self.server, self.changes, self.asked = server, changes, 0

    def __call__(self) -> VideoTask:
        self.asked += 1
        fields = {"id": "v-1", "status": "completed", "md5": MD5}
        fields["video_url"] = self.server.url(f"/v.mp4?X-Signature=topsecret{self.asked:03}")
        fields |= {k: v(self.asked) if callable(v) else v for k, v in self.changes.items()}
        return VideoTask(**fields)


def run(api, folder, **options):
    options = {"allow_private_hosts": True, "log": LOG} | options
    return archive_video(api, f"{folder}/out.mp4", **options)


def nothing_left(folder) -> bool:
    return list(folder.rglob("*")) == []


def test_the_whole_verified_file_is_stored(server, tmp_path):
    archived = run(Api(server), tmp_path / "new" / "folder")
    target = tmp_path / "new" / "folder" / "out.mp4"
    assert target.read_bytes() == CONTENT
    assert [one.name for one in target.parent.iterdir()] == ["out.mp4"]
    assert (archived.path, archived.size, archived.md5) == (f"file://{target}", len(CONTENT), MD5)
    assert archived.video_task_id == "v-1"
    assert archived.seconds > 0
    assert not archived.already_there
    umask = os.umask(0o022)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_nobody_is_told_the_key_or_a_password_of_netrc(server, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.script = [status(302, Location="/elsewhere?token=1234567890")]
    run(Api(server), tmp_path / "out")
    assert [one.target for one in server.asked] == ["/v.mp4?X-Signature=topsecret001", "/elsewhere?token=1234567890"]
    assert not any({"authorization", "cookie"} & one.headers.keys() for one in server.asked)


# Broken transfers (F20)


def cut(server: FileServer, at: int, **how) -> object:
    return whole(server, cut=at, **how)


def reset_after(server: FileServer, at: int):
    def play(asked: Asked, caller: Caller) -> None:
        whole(server, cut=at)(asked, caller)
        time.sleep(0.3)  # an RST throws away what the client has not read yet
        caller.reset()

    return play


def test_a_broken_transfer_goes_on_where_it_broke_off(server, tmp_path):
    server.script = [cut(server, 1_000_000), reset_after(server, 1_000_000)]
    api = Api(server)
    assert run(api, tmp_path).md5 == MD5
    assert server.offsets == [0, 1_000_000, 2_000_000]
    assert [one.headers.get("if-range") for one in server.asked] == [None, '"v1"', '"v1"']
    assert api.asked == 1


def test_without_range_it_starts_anew(server, tmp_path):
    server.script = [cut(server, 1_000_000), whole(server, ranges=False)]
    assert run(Api(server), tmp_path).md5 == MD5
    assert (tmp_path / "out.mp4").read_bytes() == CONTENT


def test_another_file_under_the_same_url_is_not_joined_to_the_first(server, tmp_path):
    def changed(asked: Asked, caller: Caller) -> None:
        whole(server, etag='"v2"')(asked, caller)

    server.script = [cut(server, 1_000_000), changed]
    assert run(Api(server, md5=None), tmp_path).md5 == MD5
    assert server.offsets == [0, 1_000_000]


def test_without_an_etag_parts_are_joined_only_where_the_md5_tells(server, tmp_path):
    server.script = [cut(server, 1_000_000, etag=None), whole(server, etag=None)] * 2
    run(Api(server), tmp_path)
    (tmp_path / "out.mp4").unlink()
    run(Api(server, md5=None), tmp_path)
    assert server.offsets == [0, 1_000_000, 0, 0]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Range": "bytes 0-2999999/3000000"},
        {"Content_Range": "bytes 1000000-2999999/4000000"},
        {"Content_Range": "bytes */*"},
        {"Content_Range": None, "Content_Type": "multipart/byteranges"},
    ],
)
def test_a_206_that_is_not_what_was_asked_for_is_not_used(server, tmp_path, headers):
    server.script = [cut(server, 1_000_000), status(206, CONTENT[1_000_000:], **headers)]
    run(Api(server), tmp_path)
    assert server.offsets == [0, 1_000_000, 0]
    assert (tmp_path / "out.mp4").read_bytes() == CONTENT


def test_a_416_starts_anew(server, tmp_path):
    server.script = [cut(server, 1_000_000), status(416)]
    run(Api(server), tmp_path)
    assert server.offsets == [0, 1_000_000, 0]


def test_a_server_that_never_gets_further_is_given_up(server, tmp_path, no_waiting):
    server.script = [cut(server, 1000, ranges=False) for _ in range(20)]
    with pytest.raises(DownloadError, match="broken off: IncompleteRead"):
        run(Api(server), tmp_path)
    assert len(server.asked) == 6
    assert no_waiting == sorted(no_waiting)
    assert nothing_left(tmp_path)


def test_progress_earns_further_attempts(server, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "PROGRESS", 100_000)
    server.script = [cut(server, 200_000) for _ in range(14)]
    run(Api(server), tmp_path)
    assert len(server.asked) == 15


def test_silence_is_a_broken_transfer(server, tmp_path):
    def stall(asked: Asked, caller: Caller) -> None:
        whole(server, cut=1_000_000)(asked, caller)
        time.sleep(1)

    server.script = [stall]
    run(Api(server), tmp_path, read_timeout=0.3)
    assert server.offsets == [0, 1_000_000]


@pytest.mark.parametrize("code", [500, 502, 503, 429, 408])
def test_a_passing_trouble_is_waited_out_with_the_same_url(server, tmp_path, no_waiting, code):
    server.script = [status(code, Retry_After="7")]
    api = Api(server)
    run(api, tmp_path)
    assert api.asked == 1
    assert no_waiting == [7.0]


def test_a_long_retry_after_is_left_to_airflow(server, tmp_path, no_waiting):
    server.script = [status(503, Retry_After="3600")]
    with pytest.raises(DownloadError, match="HTTP 503"):
        run(Api(server), tmp_path)
    assert no_waiting == []


def test_a_server_that_is_not_there(tmp_path):
    with serving() as gone:
        api = Api(gone)
    with pytest.raises(DownloadError, match="Connection refused") as failed:
        run(api, tmp_path)
    assert "topsecret" not in str(failed.value)
    assert nothing_left(tmp_path)


# Refused URLs (F21)


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refused_url_is_replaced_by_a_fresh_one(server, tmp_path, code):
    server.script = [status(code), cut(server, 1_000_000), status(code)]
    api = Api(server)
    run(api, tmp_path)
    assert api.asked == 3
    assert [one.target[-3:] for one in server.asked] == ["001", "002", "002", "003"]
    assert server.offsets == [0, 0, 1_000_000, 1_000_000]


def test_urls_that_are_always_refused_are_given_up(server, tmp_path):
    server.script = [status(403)] * 50
    with pytest.raises(DownloadError, match="HTTP 403"):
        run(Api(server), tmp_path)
    assert len(server.asked) == 6
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<p>Please log in</p>", {"Content_Type": "text/html; charset=utf-8"}),
        (b"\n <!DOCTYPE HTML><title>Log in</title>", {}),
        (b'{"code": 1}', {"Content_Type": "application/json"}),
    ],
)
def test_a_page_is_not_a_video(server, tmp_path, body, headers):
    server.script = [status(200, body, **headers)] * 50
    with pytest.raises(DownloadError, match=r"a page .*, not a video"):
        run(Api(server), tmp_path)
    assert nothing_left(tmp_path)


def test_an_empty_answer_is_not_a_video(server, tmp_path):
    server.script = [status(200)] * 50
    with pytest.raises(DownloadError, match="the answer is empty"):
        run(Api(server, md5=None), tmp_path)


# MD5 (F22)


def test_a_wrong_file_is_fetched_again(server, tmp_path):
    server.script = [status(200, bytes(len(CONTENT)), Content_Type="video/mp4")]
    api = Api(server)
    assert run(api, tmp_path).md5 == MD5
    assert api.asked == 2
    assert server.offsets == [0, 0]


def test_a_wrong_md5_that_stays_ends_it_and_stores_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=f"fetched 3 times.*MD5 {MD5}, and the API says 0000"):
        run(Api(server, md5="0" * 32), tmp_path)
    assert len(server.asked) == 3
    assert nothing_left(tmp_path)


def test_the_md5_of_the_fresh_answer_counts(server, tmp_path):
    assert run(Api(server, md5=lambda n: MD5 if n > 1 else "0" * 32), tmp_path).md5 == MD5


@pytest.mark.parametrize("md5", [None, "not-an-md5", "Q2hlY2sgSW50ZWdyaXR5IQ=="])
def test_a_missing_md5_is_a_warning_and_the_length_must_match(server, tmp_path, md5, caplog):
    server.script = [cut(server, 2_999_999)]
    assert run(Api(server, md5=md5), tmp_path).size == len(CONTENT)
    assert sum("only its length is verified" in line for line in caplog.messages) == 1
    assert server.offsets == [0, 2_999_999]


def endless(server: FileServer, *, chunked: bool):
    def play(asked: Asked, caller: Caller) -> None:
        caller.head(200, Transfer_Encoding="chunked" if chunked else None, Content_Type="video/mp4")
        if not chunked:
            caller.send(server.content)
        else:
            caller.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(server.content), server.content))

    return play


def test_chunks_tell_the_end_without_a_length(server, tmp_path):
    server.script = [endless(server, chunked=True)]
    assert run(Api(server, md5=None), tmp_path).md5 == MD5


def test_a_broken_chunk_is_a_broken_transfer(server, tmp_path):
    def broken(asked: Asked, caller: Caller) -> None:
        caller.head(200, Transfer_Encoding="chunked")
        caller.send(b"%x\r\n%b" % (len(CONTENT), CONTENT[:500_000]))

    server.script = [broken]
    assert run(Api(server), tmp_path).md5 == MD5
    assert server.offsets == [0, 500_000]


def test_without_length_chunks_and_md5_it_cannot_be_known_whole(server, tmp_path):
    server.script = [endless(server, chunked=False)] * 50
    with pytest.raises(DownloadError, match="neither its MD5 nor its length"):
        run(Api(server, md5=None), tmp_path)
    assert nothing_left(tmp_path)


def test_the_md5_alone_tells_the_end_too(server, tmp_path):
    server.script = [endless(server, chunked=False)]
    assert run(Api(server), tmp_path).md5 == MD5


def test_a_length_that_is_too_large_does_not_hide_a_whole_file(server, tmp_path):
    server.script = [status(200, CONTENT, Content_Length=len(CONTENT) + 1000, Content_Type="video/mp4")]
    assert run(Api(server), tmp_path).md5 == MD5
    assert server.offsets == [0]


def test_an_encoded_answer_is_not_stored_as_a_video(server, tmp_path):
    server.script = [status(200, CONTENT, Content_Encoding="gzip")] * 50
    with pytest.raises(DownloadError, match="encoded as 'gzip'"):
        run(Api(server), tmp_path)


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


def test_running_again_without_an_md5_compares_with_what_is_fetched(server, tmp_path):
    run(Api(server, md5=None), tmp_path)
    assert run(Api(server, md5=None), tmp_path).already_there
    assert [one.name for one in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("md5", [MD5, None])
def test_another_file_is_left_as_it_is(server, tmp_path, md5):
    (tmp_path / "out.mp4").write_bytes(b"precious")
    with pytest.raises(DownloadRefusedError, match=r"another file.*overwrite=True"):
        run(Api(server, md5=md5), tmp_path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", b"precious")]


@pytest.mark.parametrize("md5", [MD5, None])
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
    from airflow_provider_digitalhuman import archive_stores

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_stores.os, "write", full)
    with pytest.raises(DownloadError, match=r"could not be read or written: OSError.*No space left"):
        run(Api(server), tmp_path)
    assert len(server.asked) == 1
    assert nothing_left(tmp_path)


def test_a_store_without_its_provider_is_told_before_any_byte(server, tmp_path):
    with pytest.raises(InvalidRequestError, match="Install the provider"):
        archive_video(Api(server), "nosuchstore://bucket/", log=LOG, allow_private_hosts=True)
    assert server.asked == []


class Killed(BaseException):
    """As Airflow's time-out: no Exception."""


def test_whatever_ends_it_leaves_nothing(server, tmp_path, monkeypatch):
    from airflow_provider_digitalhuman import transfer

    def killed(*_):
        raise Killed

    monkeypatch.setattr(transfer._Progress, "tell", killed)
    with pytest.raises(Killed):
        run(Api(server), tmp_path)
    assert nothing_left(tmp_path)


def test_no_signed_url_is_logged(server, tmp_path, caplog, monkeypatch):
    from airflow.providers.common.compat import sdk

    masked: list[str] = []
    monkeypatch.setattr(sdk, "mask_secret", masked.append)
    server.script = [cut(server, 1000), status(403), status(500), status(302, Location="/x?sig=topsecret")]
    with caplog.at_level(logging.INFO):
        run(Api(server), tmp_path)
    assert "127.0.0.1" in caplog.text
    assert "topsecret" not in caplog.text
    # What other libraries log at DEBUG is starred out by Airflow.
    assert set(masked) == {"X-Signature=topsecret001", "X-Signature=topsecret002", "sig=topsecret"}


def test_a_long_transfer_tells_its_progress_at_growing_intervals(monkeypatch, caplog):
    from airflow_provider_digitalhuman import transfer

    now = 0.0
    monkeypatch.setattr(transfer.time, "monotonic", lambda: now)
    progress = transfer._Progress(LOG)
    with caplog.at_level(logging.INFO):
        for now in range(0, 2000, 1):
            progress.tell(now * 2**20, 2000 * 2**20)
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
