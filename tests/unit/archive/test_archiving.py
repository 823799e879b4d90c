"""Archiving from a real HTTP server into local files: every way in which a transfer can go wrong."""

import json
import os
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.archive import download
from airflow_provider_digitalhuman.archive.local_file import LocalSink
from airflow_provider_digitalhuman.connection.fetching import FetchError
from airflow_provider_digitalhuman.exceptions import DownloadError
from airflow_provider_digitalhuman.operators.delivery import Delivery
from tests.support.archiving import CONTENT, MD5, Api, cut, nothing_left, run
from tests.support.file_server import ETAG, Asked, Caller, FileServer, serving, status, whole
from tests.support.raw_server import answering, http_answer


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(archive, "time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    return waits


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


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


def test_a_part_shorter_than_what_is_left_does_not_pass_for_the_rest(server, tmp_path):
    part = status(206, CONTENT[1000:5000], Content_Range="bytes 1000-4999/*", ETag=ETAG)
    server.script = [cut(server, 1000), part]
    run(Api(server, md5=None), tmp_path)
    assert server.offsets == [0, 1000, 5000]
    assert (tmp_path / "out.mp4").read_bytes() == CONTENT


def test_a_416_starts_anew(server, tmp_path):
    server.script = [cut(server, 1_000_000), status(416)]
    run(Api(server), tmp_path)
    assert server.offsets == [0, 1_000_000, 0]


def test_signed_url_reaches_the_server_byte_for_byte(server, tmp_path):
    target = "/a%2db/%7Euser/./b/../v.mp4?X-Sig=%2D%7e%2f&x=a+b&y='"
    redirected = "/c%2dd/./v.mp4?X-Sig=%2d%7E"
    server.script = [status(302, Location=server.url(redirected))]
    assert run(Api(server, video_url=server.url(target)), tmp_path).md5 == MD5
    assert [one.target for one in server.asked] == [target, redirected]


# Least speed


def dripping(server: FileServer):
    def play(asked: Asked, caller: Caller) -> None:
        whole(server, cut=1000)(asked, caller)
        for at in range(asked.offset + 1000, len(CONTENT)):
            time.sleep(0.02)
            caller.send(CONTENT[at : at + 1])

    return play


def test_dripping_server_is_a_broken_transfer(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.2)
    server.script = [dripping(server)]
    assert run(Api(server), tmp_path, min_speed=100_000).md5 == MD5
    assert server.offsets[0] == 0
    assert server.offsets[1] > 1000


def test_server_that_always_drips_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.1)
    server.script = [dripping(server) for _ in range(20)]
    with pytest.raises(DownloadError, match=r"too slow: .*min_download_speed is 1e\+06"):
        run(Api(server), tmp_path, min_speed=1_000_000)
    assert len(server.asked) == 6
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("min_speed", "received", "ends"), [(1024, 1024 * 179, True), (1024, 1024 * 180, False), (0, 0, False)]
)
def test_least_speed_is_measured_over_three_minutes(min_speed, received, ends):
    speed = download._SpeedCheck(min_speed)
    speed.add(0, 179.0)
    with pytest.raises(FetchError, match="too slow") if ends else nullcontext():
        speed.add(received, 1.0)


def test_least_speed_is_a_setting_of_airflow(connect, serve, server, context, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.0)
    monkeypatch.setenv("AIRFLOW__DIGITALHUMAN__MIN_DOWNLOAD_SPEED", "1e15")
    video = {"id": "v-1", "status": "completed", "video_url": server.url(), "md5": MD5}
    context["outlet_events"] = {}
    hook = connect(serve(answering(http_answer(200, json.dumps(video)))).url)
    with pytest.raises(DownloadError, match=r"min_download_speed is 1e\+15"):
        Delivery(hook, "v-1").run(context, f"{tmp_path}/out.mp4")
    monkeypatch.setenv("AIRFLOW__DIGITALHUMAN__MIN_DOWNLOAD_SPEED", "0")
    assert Delivery(hook, "v-1").run(context, f"{tmp_path}/out.mp4").md5 == MD5


def test_slow_store_is_no_slow_transfer(server, tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    write = LocalSink._write

    def slow(sink: LocalSink, data: bytes) -> None:
        clock.now += 1000.0
        write(sink, data)

    monkeypatch.setattr(LocalSink, "_write", slow)
    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: clock.now))
    assert run(Api(server), tmp_path, min_speed=10**9).md5 == MD5
    assert server.offsets == [0]


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
    with pytest.raises(DownloadError, match=f"fetched 3 times.*MD5 {MD5}, and the API reported 0000"):
        run(Api(server, md5="0" * 32), tmp_path)
    assert len(server.asked) == 3
    assert nothing_left(tmp_path)


def test_the_md5_of_the_fresh_answer_counts(server, tmp_path):
    assert run(Api(server, md5=lambda n: MD5 if n > 1 else "0" * 32), tmp_path).md5 == MD5


@pytest.mark.parametrize("md5", [None, "not-an-md5", "Q2hlY2sgSW50ZWdyaXR5IQ=="])
def test_a_missing_md5_is_a_warning_and_the_length_must_match(server, tmp_path, md5, caplog):
    server.script = [cut(server, 2_999_999)]
    assert run(Api(server, md5=md5), tmp_path).size == len(CONTENT)
    assert sum("only its length and its first bytes are checked" in line for line in caplog.messages) == 1
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
