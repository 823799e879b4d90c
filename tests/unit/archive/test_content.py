"""What is a video: the MD5 decides, and without one the first bytes, whatever the headers are."""

import gzip
import hashlib
import os

import pytest

from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.archive.content import is_text, is_video
from airflow_provider_digitalhuman.exceptions import DownloadError
from tests.support.archiving import CONTENT, MD5, Api, nothing_left, run
from tests.support.file_server import serving, status

MP4 = b"\0\0\0\x20ftypisom" + os.urandom(5000)
WRONG_HEADERS = [
    {"Content_Encoding": "aws-chunked"},
    {"Content_Encoding": "utf-8"},
    {"Content_Encoding": "gzip"},
    {"Content_Type": "application/json"},
    {"Content_Type": "application/xml; charset=utf-8"},
    {"Content_Type": "text/html"},
    {"Content_Type": "application/json", "Content_Encoding": "aws-chunked"},
]
MESSAGES = {
    "json": (b'{"code": "AccessDenied"}', "application/octet-stream"),
    "json array": (b'\n [{"error": 1}]', "video/mp4"),
    "comment": (b"<!-- generated -->\n<html><title>Log in</title>", "application/octet-stream"),
    "xml": (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "video/mp4"),
    "plain": (b"Forbidden", "video/mp4"),
    "gbk": ('{"msg": "\u767b\u5f55\u9a8c\u8bc1\u5931\u8d25"}'.encode("gbk"), "application/octet-stream"),
    "utf-16": ("<html>".encode("utf-16"), "application/octet-stream"),
    "long": (b"<!--" + b" " * 100_000 + b"--><html>", "application/octet-stream"),
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(archive.time, "sleep", lambda _: None)


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


@pytest.mark.parametrize("headers", WRONG_HEADERS, ids=str)
def test_md5_decides_whatever_the_headers_are(server, tmp_path, headers):
    server.script = [status(200, CONTENT, **headers)]
    assert run(Api(server), tmp_path).md5 == MD5
    assert (tmp_path / "out.mp4").read_bytes() == CONTENT
    assert server.offsets == [0]


@pytest.mark.parametrize("headers", WRONG_HEADERS, ids=str)
def test_first_bytes_decide_where_there_is_no_md5(server, tmp_path, headers):
    server.script = [status(200, MP4, **headers)]
    run(Api(server, md5=None), tmp_path)
    assert (tmp_path / "out.mp4").read_bytes() == MP4
    assert server.offsets == [0]


@pytest.mark.parametrize("md5", [MD5, None], ids=["MD5", "no MD5"])
@pytest.mark.parametrize("kind", MESSAGES)
def test_message_in_place_of_a_video_is_refused(server, tmp_path, kind, md5):
    body, content_type = MESSAGES[kind]
    server.script = [status(200, body, Content_Type=content_type)] * 50
    api = Api(server, md5=md5)
    with pytest.raises(DownloadError, match=rf"it is a page or message \({content_type}\), not a video"):
        run(api, tmp_path)
    assert api.asked == 6  # each time with a fresh URL
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("md5", [MD5, None], ids=["MD5", "no MD5"])
def test_video_after_a_message_is_stored(server, tmp_path, md5):
    server.script = [status(200, b'{"code": 1}', Content_Type="application/octet-stream")]
    assert run(Api(server, md5=md5), tmp_path).md5 == MD5


@pytest.mark.parametrize("md5", [MD5, None], ids=["MD5", "no MD5"])
def test_compressed_file_is_not_stored(server, tmp_path, md5):
    server.script = [status(200, gzip.compress(CONTENT, 0), Content_Encoding="gzip")] * 50
    with pytest.raises(DownloadError, match="encoded as 'gzip', although that was declined"):
        run(Api(server, md5=md5), tmp_path)
    assert nothing_left(tmp_path)


def test_file_of_no_known_container_is_stored_where_no_header_denies_it(server, tmp_path):
    server.script = [status(200, CONTENT, Content_Type="application/octet-stream")]
    assert run(Api(server, md5=None), tmp_path).md5 == hashlib.md5(CONTENT).hexdigest()


@pytest.mark.parametrize(
    "start",
    [
        b"\0\0\0\x18ftypmp42",
        b"\0\0\0\x08wide\0\0",
        b"\x1aE\xdf\xa3\x01\0",
        b"RIFF\x10\0\0\0AVI LIST",
        b"FLV\x01\x05",
        b"\0\0\x01\xba!",
    ],
    ids=str,
)
def test_start_of_a_video_is_recognised(start):
    assert is_video(start)
    assert not is_text(start)


@pytest.mark.parametrize(
    "start", [b"RIFF\x10\0\0\0WEBPVP8 ", b"\x89PNG\r\n\x1a\n\0\0", b"\x1f\x8b\x08\0", b"ftyp"], ids=str
)
def test_start_of_another_file_is_no_video(start):
    assert not is_video(start)
