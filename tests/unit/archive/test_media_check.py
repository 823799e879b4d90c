"""The look at the media before a video is paid for."""

import logging
import time

import pytest

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.archive.media_check import check_media
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import InvalidRequestError
from tests.support.file_server import Asked, Caller, FileServer, serving, status, whole

LOG = logging.getLogger("test.media")


@pytest.fixture
def server():
    with serving(b"RIFF" * 1000) as server:
        yield server


def check(server: FileServer, **options) -> None:
    request = VideoRequest(
        audio_url=server.url("/a.wav?X-Signature=topsecret"), video_url=server.url("/v.mp4?X-Signature=topsecret")
    )
    check_media(request, **({"log": LOG, "access": FileAccess(), "read_timeout": 0.5} | options))


def part(body: bytes = b"R", **headers):
    return status(206, body, **({"Content_Range": "bytes 0-0/4000", "Content_Type": "audio/wav"} | headers))


def test_one_byte_of_each_is_asked_for_without_the_key(server, caplog):
    server.script = [part(), part()]
    check(server)
    assert [one.method for one in server.asked] == ["GET", "GET"]
    assert [one.headers["range"] for one in server.asked] == ["bytes=0-0"] * 2
    assert not any("authorization" in one.headers for one in server.asked)
    assert caplog.messages == []


@pytest.mark.parametrize("code", [404, 410])
@pytest.mark.parametrize("field", ["audio_url", "video_url"])
def test_what_is_not_there_is_refused(server, code, field):
    server.script = [status(code)] if field == "audio_url" else [part(), status(code)]
    with pytest.raises(InvalidRequestError, match=rf"{field}=.*HTTP {code}.*Nothing was submitted") as refused:
        check(server)
    assert "topsecret" not in str(refused.value)


@pytest.mark.parametrize(
    "page",
    [
        status(200, b"<!DOCTYPE html><title>Log in</title>"),
        status(200, b"  <HTML><body>Log in", Content_Type="application/octet-stream"),
        status(200, b"", Content_Type="text/html"),
        status(206, b"<", Content_Type="text/html; charset=utf-8", Content_Range="bytes 0-0/500"),
    ],
)
def test_a_login_page_is_refused(server, page):
    server.script = [page]
    with pytest.raises(InvalidRequestError, match="an HTML page is there"):
        check(server)


def test_a_redirect_to_a_login_page_is_refused(server):
    server.script = [status(302, Location="/login?back=topsecret"), status(200, b"<html>", Content_Type="text/html")]
    with pytest.raises(InvalidRequestError, match="/login") as refused:
        check(server)
    assert "topsecret" not in str(refused.value)


@pytest.mark.parametrize(
    "play",
    [
        status(401),
        status(403, b"<html>", Content_Type="text/html"),
        status(405),
        status(416),
        status(429),
        status(500, b"<html>", Content_Type="text/html"),
        status(302, Location="ftp://elsewhere/"),
        status(302),
        status(200, b""),
        lambda asked, caller: caller.reset(),
        lambda asked, caller: time.sleep(1.5),
    ],
)
def test_what_is_unclear_only_warns(server, caplog, play):
    server.script = [play, part()]
    check(server)
    [line] = caplog.messages
    assert line.startswith("audio_url could not be checked, and is submitted all the same")
    assert "topsecret" not in line


def test_a_wrong_content_type_alone_is_believed_less_than_the_bytes(server, caplog):
    server.script = [part(Content_Type="text/html"), part()]
    check(server)
    assert caplog.messages == []


def test_a_server_without_ranges_is_not_read_to_the_end(server):
    sent = 0

    def flood(asked: Asked, caller: Caller) -> None:
        nonlocal sent
        caller.head(200, Content_Type="video/mp4", Content_Length=10**12)
        while sent < 10**9:
            caller.send(bytes(100_000))
            sent += 100_000

    server.script = [flood, whole(server)]
    check(server)
    assert sent < 50_000_000


def test_a_server_that_is_not_there_only_warns(caplog):
    with serving() as gone:
        pass
    check(gone)
    assert len(caplog.messages) == 2
