"""What the adapter adds to ``requests``, for requests with the key and for files."""

import gzip
import json
import signal
import ssl
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.connection.fetching import NETWORK_ERRORS, FetchError, FileSession
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import (
    InvalidConnectionError,
    QueryError,
    ServiceUnreachableError,
    SubmissionUnknownError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from tests.support.raw_server import Peer, RawServer, Script, answering, http_answer

Connect = Callable[..., DigitalHumanHook]
Serve = Callable[..., RawServer]

REQUEST = VideoRequest("https://media.example.com/speech.mp3", "https://media.example.com/person.mp4")
ACCEPTED = http_answer(200, json.dumps({"id": "abc", "status": "queued"}))
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
VIDEO = http_answer(200, b"video", content_type="video/mp4")


def files(**options: Any) -> FileSession:
    access = FileAccess(**{name: options.pop(name) for name in ("proxies", "connect_timeout") if name in options})
    return FileSession(access, **{"allow_private_hosts": True, "read_timeout": 10, **options})


def sending(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return script


def dripping(data: bytes, behind: bytes = b"") -> Script:
    """Send byte after byte; ``server.dripped`` says whether the client has waited for the last one."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(behind)
        for byte in data:
            peer.send(bytes([byte]))
            if peer.hang(0.05):
                return
        peer.server.dripped = True  # type: ignore[attr-defined]

    return script


# --- the URL exactly as given -----------------------------------------------------------------------------------------

AS_GIVEN = [
    "/v/%2D%7E.mp4?X-Signature=a%2Db%7Ec",
    "/v/lower%c3%a9%2f.mp4?sig=%e4%bb%bb",
    "/a/./b/../c//d.mp4",
    "/?sig=a+b%20c&empty=&bare&x=1/2:3@4,5;6!7'8(9)*~",
    '/[1]{2}|3^4.mp4?a[]=1\\2"3<4>`5',
    "/%zz%.mp4?%",
]


@pytest.mark.parametrize("target", AS_GIVEN)
@pytest.mark.parametrize("proxied", [False, True])
def test_file_url_reaches_server_as_given(serve: Serve, target: str, proxied: bool) -> None:
    server = serve(answering(VIDEO))
    base = "http://store.example.com" if proxied else server.url
    proxies = {"http": server.url} if proxied else {}
    with files(proxies=proxies) as session, session.open(f"{base}{target}#fragment") as response:
        assert response.content == b"video"
    assert [request.target for request in server.requests] == [f"{base if proxied else ''}{target}"]


def test_redirect_target_reaches_server_as_given(serve: Serve) -> None:
    target = "/%2D%7e/./v.mp4?sig=%e4"
    server = serve(answering(VIDEO))
    redirecting = serve(answering(http_answer(302, location=server.url + target)))
    with files() as session, session.open(redirecting.url) as response:
        assert response.content == b"video"
    assert [request.target for request in server.requests] == [target]


@pytest.mark.parametrize(
    ("url", "target"),
    [("/a b.mp4?x= y", "/a%20b.mp4?x=%20y"), ("/视.mp4", "/%E8%A7%86.mp4"), ("?a=1", "/?a=1"), ("", "/")],
)
def test_only_what_cannot_stand_in_request_line_is_encoded(serve: Serve, url: str, target: str) -> None:
    server = serve(answering(VIDEO))
    with files() as session:
        session.open(server.url + url).close()
    assert server.requests[0].target == target


def test_file_request_has_neither_cookies_nor_login(serve: Serve) -> None:
    server = serve(answering(http_answer(302, location="/v.mp4", set_cookie="a=b; Path=/"), VIDEO))
    with files() as session:
        session.open(server.url.replace("://", "://user:password@")).close()
    assert [request.target for request in server.requests] == ["/", "/v.mp4"]
    assert not any({"cookie", "authorization"} & request.headers.keys() for request in server.requests)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_interim_answers_of_create_are_skipped(connect: Connect, serve: Serve) -> None:
    server = serve(answering(EARLY_HINTS * 2 + ACCEPTED))
    assert connect(server.url).create_video(REQUEST).id == "abc"
    assert server.posts == 1


def test_interim_answer_alone_is_no_answer(connect: Connect, serve: Serve) -> None:
    with pytest.raises(SubmissionUnknownError):
        connect(serve(sending(EARLY_HINTS)).url).create_video(REQUEST)


@pytest.mark.parametrize("status", [401, 404, 429])
@pytest.mark.parametrize("end", [b"", b"Content-Le", b"Content-Length: 0\r\n"])
def test_create_is_unknown_where_head_of_refusal_breaks_off(
    connect: Connect, serve: Serve, waits: list[float], status: int, end: bytes
) -> None:
    server = serve(sending(b"HTTP/1.1 %d Whatever\r\n" % status + end))
    with pytest.raises(SubmissionUnknownError):
        connect(server.url).create_video(REQUEST)
    assert (server.posts, waits) == (1, [])


@pytest.mark.parametrize("encoding", ["x-gzip", "gzip"])
def test_compressed_acceptance_is_an_acceptance(connect: Connect, serve: Serve, encoding: str) -> None:
    body = gzip.compress(json.dumps({"id": "abc", "status": "queued"}).encode())
    assert (
        connect(serve(answering(http_answer(200, body, content_encoding=encoding))).url).create_video(REQUEST).id
        == "abc"
    )


def test_head_of_file_that_drips_ends_with_its_time(serve: Serve) -> None:
    server = serve(dripping(b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * 90))
    with files(read_timeout=0.5) as session, pytest.raises(FetchError, match=r"too slow|timed out"):
        session.open(server.url)
    assert not hasattr(server, "dripped")


def test_answer_that_drips_ends_with_its_time(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    server = serve(dripping(b" " * 1000, behind=head))
    with files(answer_timeout=0.5) as session, session.open(server.url) as response, pytest.raises(NETWORK_ERRORS):
        response.raw.read(512)
    assert not hasattr(server, "dripped")


def test_file_with_malformed_head_is_read_and_its_url_not_logged(
    serve: Serve, everything_logged: Callable[[], str]
) -> None:
    server = serve(sending(b"HTTP/1.1 200 OK\r\nnothing\r\n\r\nvideo"))
    with files() as session, session.open(server.url + "/v.mp4?sig=topsecret123") as response:
        assert response.raw.read(5) == b"video"
    assert "Failed to parse headers" not in everything_logged()


# --- trust ------------------------------------------------------------------------------------------------------------


def test_tls_failure_names_verify_and_ca_variables(
    connect: Connect, serve: Serve, waits: list[float], server_tls: ssl.SSLContext
) -> None:
    server = serve(answering(ACCEPTED), server_tls)
    hook = connect(server.url)
    with pytest.raises(
        ServiceUnreachableError, match=r"extra\.verify.*REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE"
    ):
        hook.create_video(REQUEST)
    assert "extra.verify" in hook.test_connection()[1]
    with pytest.raises(QueryError, match=r"abc brought no answer.*CERTIFICATE_VERIFY_FAILED.*extra\.verify"):
        hook.query_video("abc")
    with files() as session, pytest.raises(FetchError, match=r"could not be fetched.*extra\.verify"):
        session.open(server.url)
    assert server.requests == []


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_ca_file_of_environment_is_trusted(
    connect: Connect,
    serve: Serve,
    server_tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, str(certificate))
    server = serve(answering(ACCEPTED), server_tls)
    assert connect(server.url).create_video(REQUEST).id == "abc"
    with files() as session, session.open(server.url) as response:
        assert response.status_code == 200


def test_variables_of_requests_go_before_that_of_openssl(
    connect: Connect, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(InvalidConnectionError, match="REQUESTS_CA_BUNDLE"):
        connect("https://127.0.0.1:1").create_video(REQUEST)


# --- secrets ----------------------------------------------------------------------------------------------------------

PROXIES = ["http://user:XQ7#ZW9@{}", "http://user:4711#ZW9@{}", "http://user:XQ7/ZW9@{}", "user:XQ7#ZW9@{}"]


@pytest.mark.parametrize("address", PROXIES)
def test_special_character_in_proxy_password_shows_nothing_of_it(
    connect: Connect, serve: Serve, monkeypatch: pytest.MonkeyPatch, everything_logged: Callable[[], str], address: str
) -> None:
    proxy = serve(answering(ACCEPTED))
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, address.format(f"127.0.0.1:{proxy.port}"))
    hook = connect("http://api.example.com")
    with pytest.raises(InvalidConnectionError, match="percent-encode") as refused:
        hook.create_video(REQUEST)
    with files() as session, pytest.raises(FetchError, match="percent-encode") as not_fetched:
        session.open("http://store.example.com/v.mp4")
    said = f"{refused.value} {not_fetched.value} {hook.test_connection()} {everything_logged()}"
    assert not [part for part in ("XQ7", "4711", "ZW9") if part in said]
    assert proxy.connections == 0


@pytest.mark.parametrize("how", ["plain", "tls", "proxy"])
def test_local_variables_in_mid_post_do_not_show_key(
    connect: Connect, serve: Serve, server_tls: ssl.SSLContext, key: str, how: str
) -> None:
    """A formatter that prints local variables sees the frames that ``execution_timeout`` has interrupted."""

    def interrupt(peer: Peer) -> None:
        peer.read_request()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        peer.hang()

    def time_out(number: int, frame: FrameType | None) -> None:
        raise AirflowTaskTimeout

    server = serve(interrupt, server_tls if how == "tls" else None)
    extra: dict[str, Any] = {"verify": False}
    if how == "proxy":
        extra["proxies"] = f"http://user:proxy-pw@127.0.0.1:{server.port}"
    hook = connect("http://api.example.com" if how == "proxy" else server.url, extra=extra)
    before = signal.signal(signal.SIGUSR1, time_out)
    try:
        with pytest.raises(AirflowTaskTimeout) as caught:
            hook._transport.post(f"{hook.settings.base_url}/v1", REQUEST.body(), _monitor())
    finally:
        signal.signal(signal.SIGUSR1, before)
    frames = [
        frame for frame, _ in traceback.walk_tb(caught.value.__traceback__) if frame.f_code.co_filename != __file__
    ]
    shown = "\n".join(repr(value) for frame in frames for value in frame.f_locals.values())
    assert "Authorization" in shown
    assert key not in shown
    assert "proxy-pw" not in shown
    assert "dXNlcjpwcm94eS1wdw" not in shown  # the same in Base64


def _monitor() -> Any:
    from airflow_provider_digitalhuman.connection.transport import RequestMonitor

    return RequestMonitor()
