import time

import pytest

from airflow_provider_digitalhuman.sandbox.testing import running_sandbox


@pytest.fixture
def done(wire):
    return wire.finished()


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-50", slice(-50, None)),
        ("bytes=100-99999999", slice(100, None)),
    ],
)
def test_ranges(wire, done, header, span):
    whole = wire.download(done["video_url"])
    part = wire.download(done["video_url"], Range=header)
    assert (whole.status_code, part.status_code) == (200, 206)
    assert whole.headers["accept-ranges"] == "bytes"
    assert part.content == whole.content[span]
    start = span.indices(len(whole.content))[0]
    assert part.headers["content-range"] == f"bytes {start}-{start + len(part.content) - 1}/{len(whole.content)}"
    assert part.headers["etag"] == whole.headers["etag"] == f'"{done["md5"]}"'


def test_range_beyond_the_end(wire, done):
    answer = wire.download(done["video_url"], Range="bytes=99999999-")
    assert answer.status_code == 416
    assert answer.headers["content-range"].startswith("bytes */")


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "bytes=x", ""])
def test_other_ranges_are_ignored(wire, done, header):
    assert wire.download(done["video_url"], Range=header).status_code == 200


def test_a_range_of_another_version_is_ignored(wire, done):
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert wire.download(done["video_url"], **headers).status_code == 200
    headers["If-Range"] = f'"{done["md5"]}"'
    assert wire.download(done["video_url"], **headers).status_code == 206


def test_head(wire, done):
    answer = wire.session.head(done["video_url"], timeout=20)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(wire.download(done["video_url"]).content)


def test_a_key_that_is_sent_to_a_file_is_noted(wire, sandbox, done):
    wire.download(done["video_url"])
    assert sandbox.ledger()["key_leaked_to_files"] == 0
    assert wire.download(done["video_url"], **wire.headers).status_code == 200
    ledger = sandbox.ledger()
    assert (ledger["downloads"], ledger["key_leaked_to_files"]) == (2, 1)


def test_urls_expire_and_a_query_gives_a_fresh_one(wire_to):
    with running_sandbox(processing_seconds=0, url_ttl_seconds=1) as sandbox:
        wire = wire_to(sandbox)
        first = wire.finished()
        deadline = time.monotonic() + 20
        while wire.download(first["video_url"]).status_code != 403:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = wire.query(first["id"]).json()
        assert second["video_url"] != first["video_url"]
        assert wire.download(second["video_url"]).status_code == 200
        assert wire.download(first["video_url"]).status_code == 403


def test_the_url_stays_while_it_lives(wire, done):
    assert wire.query(done["id"]).json()["video_url"] == done["video_url"]


@pytest.mark.parametrize("path", ["/files/nothing.mp4", "/files/../sandbox.sqlite", "/sandbox/media/README.md"])
def test_other_files_are_not_served(wire, sandbox, path):
    assert wire.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()).startswith(b"HTTP/1.1 404")
