"""The hook on the wire, against servers of bare sockets: did the request leave, was it sent once, what came of it."""

import base64
import contextlib
import gzip
import http.client
import json
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3.connection

from airflow_provider_digitalhuman import __version__
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.connection import monitor, transport
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InvalidConnectionError,
    LedgerError,
    QueryError,
    RequestRefusedError,
    ServiceUnreachableError,
    SubmissionUnknownError,
)
from airflow_provider_digitalhuman.hooks import digitalhuman as hook_module
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.support.compat import AIRFLOW
from tests.support.errors import meaning
from tests.support.raw_server import PATIENCE, Peer, RawServer, Script, answering, http_answer, tunnel_to

REQUEST = VideoRequest("https://media.example.com/speech.mp3", "https://media.example.com/person.mp4", side_face=True)
QUEUED = json.dumps({"id": "abc", "status": "queued"})
ACCEPTED = http_answer(200, QUEUED)
STATE = http_answer(200, '{"status": "queued"}')
"""The answer to a query for any ID."""
MOST_POSTS = 10
"""What a bounded number of attempts may be at most."""

Connect = Callable[..., DigitalHumanHook]
Serve = Callable[..., RawServer]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_the_create_on_the_wire(connect: Connect, serve: Serve, key: str) -> None:
    server = serve(answering(ACCEPTED))
    task = connect(server.url + "/base").create_video(REQUEST)
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/base/v1/digitalHuman/videos")
    assert json.loads(request.body) == {
        "model": "kyy_digitalHuman",
        "audioUrl": REQUEST.audio_url,
        "videoUrl": REQUEST.video_url,
        "modelVersion": 2,
        "sideFace": 1,
    }
    assert request.headers["authorization"] == f"Bearer {key}"
    assert request.headers["content-type"].startswith("application/json")
    assert __version__ in request.headers["user-agent"]
    assert "airflow-provider-digitalhuman" in request.headers["user-agent"]
    assert task.id == "abc"


def test_the_query_on_the_wire(connect: Connect, serve: Serve, key: str) -> None:
    server = serve(answering(STATE))
    connect(server.url + "/base").get_video("任务/1?a=b#c d%2F..")
    (request,) = server.requests
    assert request.method == "GET"
    assert request.target == "/base/v1/result/%E4%BB%BB%E5%8A%A1%2F1%3Fa%3Db%23c%20d%252F.."
    assert request.headers["authorization"] == f"Bearer {key}"
    assert request.body == b""


@pytest.mark.parametrize("task_id", [".", ".."])
def test_an_id_of_dots_does_not_climb_the_path(
    connect: Connect, serve: Serve, waits: list[float], task_id: str
) -> None:
    server = serve(answering(STATE))
    connect(server.url + "/base").get_video(task_id)
    assert server.requests[0].target.replace("%2E", ".") == "/base/v1/result/" + task_id


def test_queries_share_one_connection(connect: Connect, serve: Serve) -> None:
    server = serve(answering(ACCEPTED))
    hook = connect(server.url)
    for _ in range(5):
        hook.get_video("abc")
    assert len(server.requests) == 5
    assert server.connections == 1


def test_a_closed_hook_opens_again(connect: Connect, serve: Serve) -> None:
    server = serve(answering(ACCEPTED))
    with connect(server.url) as hook:
        hook.get_video("abc")
        hook.close()
        hook.get_video("abc")
    hook.close()
    assert len(server.requests) == 2


def test_netrc_does_not_replace_the_key(
    connect: Connect, serve: Serve, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password another-secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(answering(ACCEPTED))
    hook = connect(server.url)
    hook.create_video(REQUEST)
    hook.get_video("abc")
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {key}"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(connect: Connect, serve: Serve, waits: list[float], status: int) -> None:
    elsewhere = serve(answering(ACCEPTED))
    server = serve(answering(http_answer(status, location=elsewhere.url + "/v1/digitalHuman/videos")))
    hook = connect(server.url)
    with pytest.raises(DigitalHumanError) as caught:
        hook.create_video(REQUEST)
    assert server.posts == 1
    assert meaning(caught.value) is (SubmissionUnknownError if status in (302, 303) else RequestRefusedError)
    with pytest.raises(QueryError):
        hook.get_video("abc")
    assert elsewhere.connections == 0


# --- F2: nothing left -------------------------------------------------------------------------------------------------


class Witness:
    """Notes what it is told of a submission."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def sending(self) -> None:
        self.events.append("sending")

    def not_accepted(self, why: DigitalHumanError) -> None:
        self.events.append("not_accepted")

    def outcome_unknown(self, why: SubmissionUnknownError) -> None:
        self.events.append("outcome_unknown")

    def accepted(self, task: Any) -> None:
        self.events.append("accepted")


def check_nothing_left(hook: DigitalHumanHook, waits: list[float]) -> None:
    """The create is tried a bounded number of times, and each time it is certain that nothing was accepted."""
    witness = Witness()
    with pytest.raises(ServiceUnreachableError, match="nothing was sent"):
        hook.create_video(REQUEST, witness)
    attempts = len(waits) + 1
    assert 1 < attempts <= MOST_POSTS
    assert witness.events == ["sending", "not_accepted"] * attempts
    assert sorted(waits) == waits
    with pytest.raises(QueryError, match="brought no answer"):
        hook.get_video("abc")


def test_connection_refused(connect: Connect, waits: list[float]) -> None:
    check_nothing_left(connect(f"http://127.0.0.1:{unused_port()}"), waits)


def test_no_such_name(connect: Connect, waits: list[float]) -> None:
    check_nothing_left(connect("https://no-such-host.invalid"), waits)


def test_plain_http_where_tls_is_expected(connect: Connect, serve: Serve, waits: list[float]) -> None:
    def script(peer: Peer) -> None:
        peer.socket.recv(1)
        peer.send(http_answer(400, keep_alive=False))

    server = serve(script)
    check_nothing_left(connect(server.url.replace("http:", "https:")), waits)
    assert server.posts == 0


def test_a_certificate_that_is_not_trusted(
    connect: Connect, serve: Serve, waits: list[float], server_tls: ssl.SSLContext
) -> None:
    server = serve(answering(ACCEPTED), server_tls)
    check_nothing_left(connect(server.url), waits)
    assert server.requests == []


def test_a_certificate_of_another_host(
    connect: Connect, serve: Serve, waits: list[float], server_tls: ssl.SSLContext, certificate: Path
) -> None:
    server = serve(answering(ACCEPTED), server_tls)
    host = f"https://localhost:{server.port}"
    check_nothing_left(connect(host, extra={"verify": str(certificate)}), waits)
    assert server.requests == []


def test_a_handshake_that_hangs(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(lambda peer: peer.hang())
    check_nothing_left(connect(server.url.replace("http:", "https:"), extra={"connect_timeout": 0.1}), waits)


def test_a_ca_file_that_is_none(connect: Connect, waits: list[float], tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("nothing")
    witness = Witness()
    with pytest.raises(InvalidConnectionError, match=r"extra\.verify='.*ca\.pem' cannot be read as a CA file"):
        connect("https://127.0.0.1:1", extra={"verify": str(ca_file)}).create_video(REQUEST, witness)
    assert (witness.events, waits) == ([], [])


def test_a_ca_file_of_the_environment_that_is_none(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(InvalidConnectionError, match=r"REQUESTS_CA_BUNDLE='.*gone\.pem' cannot be read as a CA file"):
        connect("https://127.0.0.1:1").create_video(REQUEST)


@pytest.mark.parametrize("status", [502, 407, 403])
def test_a_proxy_that_does_not_connect(
    connect: Connect, serve: Serve, waits: list[float], key: str, status: int
) -> None:
    proxy = serve(answering(http_answer(status, keep_alive=False)))
    proxies = proxy.url.replace("http://", "http://user:proxy-pw@")
    check_nothing_left(connect("https://api.example.com", extra={"proxies": proxies}), waits)
    assert {request.method for request in proxy.requests} == {"CONNECT"}
    assert key not in repr([request.headers for request in proxy.requests])


@pytest.mark.parametrize("host", ["https://api.example.com", "http://api.example.com"])
def test_a_proxy_that_cannot_be_reached(connect: Connect, waits: list[float], host: str) -> None:
    check_nothing_left(connect(host, extra={"proxies": f"http://127.0.0.1:{unused_port()}"}), waits)


def test_a_proxy_that_drops_the_connection_after_connect(connect: Connect, serve: Serve, waits: list[float]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    check_nothing_left(connect("https://api.example.com", extra={"proxies": serve(script).url}), waits)


def test_the_first_attempt_that_left_nothing_does_not_count(
    connect: Connect, serve: Serve, waits: list[float], server_tls: ssl.SSLContext, certificate: Path
) -> None:
    def script(peer: Peer) -> None:
        if peer.server.connections > 1:  # the first connection ends before the handshake
            peer.start_tls(server_tls)
            while peer.read_request():
                peer.send(ACCEPTED)

    server = serve(script)
    witness = Witness()
    hook = connect(server.url.replace("http:", "https:"), extra={"verify": str(certificate)})
    assert hook.create_video(REQUEST, witness).id == "abc"
    assert witness.events == ["sending", "not_accepted", "sending", "accepted"]
    assert server.posts == 1
    assert len(waits) == 1


# --- TLS and proxies that work ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verify", ["certificate", False])
def test_tls(connect: Connect, serve: Serve, server_tls: ssl.SSLContext, certificate: Path, verify: Any) -> None:
    server = serve(answering(ACCEPTED), server_tls)
    hook = connect(server.url, extra={"verify": str(certificate) if verify == "certificate" else verify})
    assert hook.create_video(REQUEST).id == "abc"
    assert hook.get_video("abc").id == "abc"
    assert server.posts == 1


def test_an_environment_variable_does_not_switch_verification_on_again(
    connect: Connect, serve: Serve, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    server = serve(answering(ACCEPTED), server_tls)
    assert connect(server.url, extra={"verify": False}).create_video(REQUEST).id == "abc"


@pytest.mark.parametrize(
    ("host", "sent"),
    [("http://api.example.com", "api.example.com"), ("http://[2001:db8::1]:8080/base", "[2001:db8::1]:8080")],
)
def test_the_host_header(connect: Connect, serve: Serve, host: str, sent: str) -> None:
    proxy = serve(answering(ACCEPTED))
    connect(host, extra={"proxies": proxy.url}).create_video(REQUEST)
    assert proxy.requests[0].headers["host"] == sent


def test_through_a_plain_proxy(connect: Connect, serve: Serve) -> None:
    proxy = serve(answering(ACCEPTED))
    connect("http://api.example.com/base", extra={"proxies": proxy.url}).create_video(REQUEST)
    assert [(request.method, request.target) for request in proxy.requests] == [
        ("POST", "http://api.example.com/base/v1/digitalHuman/videos")
    ]


def test_through_a_tunnel(
    connect: Connect, serve: Serve, server_tls: ssl.SSLContext, certificate: Path, key: str
) -> None:
    def script(peer: Peer) -> None:
        tunnel = peer.read_request()
        assert tunnel is not None
        assert tunnel.method == "CONNECT"
        assert key not in repr(tunnel.headers)
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.start_tls(server_tls)
        while peer.read_request():
            peer.send(ACCEPTED)

    proxy = serve(script)
    extra = {"proxies": {"https": proxy.url}, "verify": str(certificate)}
    hook = connect("https://127.0.0.1:1/base", extra=extra)
    assert hook.create_video(REQUEST).id == "abc"
    assert proxy.posts == 1


@pytest.mark.parametrize("to_proxy_by_tls", [False, True])
def test_a_proxys_password_goes_to_the_proxy_and_the_key_does_not(
    connect: Connect,
    serve: Serve,
    server_tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    to_proxy_by_tls: bool,
) -> None:
    api = serve(answering(ACCEPTED), server_tls)
    proxy = serve(tunnel_to(api.port), server_tls if to_proxy_by_tls else None)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://user:p%40ss@"))
    hook = connect(api.url, extra={"verify": str(certificate)})
    assert hook.create_video(REQUEST).id == "abc"
    assert hook.get_video("abc").id == "abc"
    assert [(one.method, one.target) for one in proxy.requests] == [("CONNECT", f"127.0.0.1:{api.port}")]
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert "authorization" not in proxy.requests[0].headers
    assert ["proxy-authorization" in one.headers for one in api.requests] == [False, False]
    assert api.posts == 1


def test_a_plain_proxys_password(connect: Connect, serve: Serve) -> None:
    proxy = serve(answering(ACCEPTED))
    connect("http://api.example.com", extra={"proxies": proxy.url.replace("://", "://user:p%40ss@")}).create_video(
        REQUEST
    )
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()


def test_the_environment_exempts_the_api_from_its_proxy(
    connect: Connect, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    assert connect(serve(answering(ACCEPTED)).url).create_video(REQUEST).id == "abc"


def test_a_kind_of_proxy_that_is_not_spoken(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:70")
    witness = Witness()
    with pytest.raises(InvalidConnectionError, match=r"scheme 'gopher'.*http, https, socks5"):
        connect("https://api.example.com").create_video(REQUEST, witness)
    assert witness.events == []


def test_socks_proxy_without_its_package_is_refused(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "find_spec", lambda name: None if name == "socks" else object())
    with pytest.raises(InvalidConnectionError, match=r"needs the package PySocks: install .*\[socks\]"):
        connect("https://api.example.com", extra={"proxies": "socks5://127.0.0.1:1080"}).create_video(REQUEST)


def test_a_proxy_that_says_nothing_ends_the_attempt_within_the_time_to_connect(
    connect: Connect, serve: Serve, waits: list[float]
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.hang()

    extra = {"proxies": serve(script).url, "connect_timeout": 0.2, "query_timeout": 0.2}
    check_nothing_left(connect("https://api.example.com", extra=extra), waits)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_has_connection_of_its_own(connect: Connect, serve: Serve) -> None:
    server = serve(answering(STATE))
    hook = connect(server.url)
    hook.query_video("abc")
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            hook.query_video("abc")
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    hook.query_video("abc")
    assert (len(server.requests), server.connections) == (3, 2)


def test_two_threads_have_a_connection_each(connect: Connect, serve: Serve) -> None:
    """Each create begins a fresh connection, and that ends no request of another thread."""
    all_there = threading.Barrier(4)

    def script(peer: Peer) -> None:
        while request := peer.read_request():
            if request.method == "POST":
                all_there.wait(10)
            peer.send(ACCEPTED)

    server = serve(script)
    hook = connect(server.url)
    with ThreadPoolExecutor(4) as threads:
        tasks = list(threads.map(lambda _: (hook.get_video("abc"), hook.create_video(REQUEST))[1], range(4)))
    assert [task.id for task in tasks] == ["abc"] * 4
    assert server.posts == 4


# --- F3, F4: the request left, and nothing proves anything ------------------------------------------------------------


def reset_before_reading(peer: Peer) -> None:
    peer.socket.recv(1)
    peer.reset()


def reset_after_reading(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def close_before_reading(peer: Peer) -> None:
    peer.socket.recv(1)


def close_after_reading(peer: Peer) -> None:
    peer.read_request()


def hang(peer: Peer) -> None:
    peer.read_request()
    peer.hang()


def drip(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        for byte in data:
            peer.send(bytes([byte]))
            if peer.hang(0.05):
                return
        peer.server.dripped = True  # type: ignore[attr-defined]

    return script


def part(data: bytes, then: Callable[[Peer], object] = lambda peer: None) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        then(peer)

    return script


HEAD = ACCEPTED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

UNKNOWN: dict[str, Script] = {
    "reset before reading": reset_before_reading,
    "reset after reading": reset_after_reading,
    "closed before reading": close_before_reading,
    "closed after reading": close_after_reading,
    "hang": hang,
    "hang after the head": part(HEAD, Peer.hang),
    "hang in the head": part(HEAD[:30], Peer.hang),
    "hang in the body": part(ACCEPTED[:-5], Peer.hang),
    "reset in the head": part(HEAD[:30], Peer.reset),
    "reset in the body": part(ACCEPTED[:-5], Peer.reset),
    "closed in the head": part(HEAD[:-10]),
    "closed in the body": part(ACCEPTED[:-5]),
    "closed in a body of unknown length": part(NO_LENGTH + QUEUED.encode()[:-5]),
    "closed after the head": part(HEAD),
    "broken chunks": part(CHUNKED + b"zz\r\n" + QUEUED.encode()),
    "chunks cut off": part(CHUNKED + b"%x\r\n%s\r\n" % (len(QUEUED), QUEUED.encode())),
    "body dripping": drip(HEAD + QUEUED.encode()[:-1] + b" " * 2000),
    "body of unknown length dripping": drip(NO_LENGTH + b" " * 30 + QUEUED.encode()),
    "head dripping": drip(HEAD[:-2] + b"X-More: 1\r\n" * 200),
    "no HTTP at all": part(b"220 smtp.example.com ESMTP\r\n"),
    "garbage": part(b"\x00\xff\x00\xff\r\n\r\n"),
    "empty body": answering(http_answer(200)),
    "empty body, no content": answering(http_answer(204)),
    "an html page": answering(http_answer(200, "<html>Welcome</html>", content_type="text/html")),
    "bad gzip": answering(http_answer(200, QUEUED, content_encoding="gzip")),
    "too long": part(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b" " * 200_000, Peer.hang),
    "broken json": answering(http_answer(200, QUEUED[:-3])),
    "no id": answering(http_answer(200, '{"code": 0, "data": null}')),
    **{f"HTTP {status}": answering(http_answer(status, "<html>")) for status in (500, 502, 503, 504, 520, 408)},
    "HTTP 500 of Spring": answering(http_answer(500, '{"status": 500, "error": "Internal Server Error"}')),
}


class LeapingClock:
    """The module ``time``, which a suspended process finds ahead when it goes on."""

    ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def sleep(self, seconds: float) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LeapingClock:
    leaping = LeapingClock()
    for module in (transport, monitor, hook_module):
        monkeypatch.setattr(module, "time", leaping)
    return leaping


class Freezing(Witness):
    """Stands still for so many seconds while the intent is written down, each time one of them."""

    def __init__(self, clock: LeapingClock, *seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = iter(seconds)

    def sending(self) -> None:
        super().sending()
        self._clock.ahead += next(self._seconds, 0.0)


def test_create_is_not_sent_by_process_that_stood_still_while_connecting(
    connect: Connect, serve: Serve, clock: LeapingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been given up meanwhile; the intent is written down anew, which Airflow refuses then."""
    server = serve(answering(ACCEPTED))
    witness = Witness()
    connecting, leaps = urllib3.connection.HTTPConnection.connect, iter([61.0])

    def stands_still(connection: urllib3.connection.HTTPConnection) -> None:
        clock.ahead += next(leaps, 0.0)
        connecting(connection)

    monkeypatch.setattr(urllib3.connection.HTTPConnection, "connect", stands_still)
    connect(server.url).create_video(REQUEST, witness)
    assert witness.events == ["sending", "not_accepted", "sending", "accepted"]
    assert server.posts == 1


def test_create_is_not_sent_by_process_that_stood_still_while_writing_intent(
    connect: Connect, serve: Serve, clock: LeapingClock
) -> None:
    server = serve(answering(ACCEPTED))
    witness = Freezing(clock, 75.0)
    connect(server.url).create_video(REQUEST, witness)
    assert witness.events == ["sending", "not_accepted", "sending", "accepted"]
    assert server.posts == 1


def test_create_that_is_always_too_late_is_released_each_time(
    connect: Connect, serve: Serve, clock: LeapingClock
) -> None:
    server = serve(answering(ACCEPTED))
    witness = Freezing(clock, *[75.0] * MOST_POSTS)
    with pytest.raises(ServiceUnreachableError, match="too late"):
        connect(server.url).create_video(REQUEST, witness)
    assert witness.events == ["sending", "not_accepted"] * (len(witness.events) // 2)
    assert server.posts == 0


def test_create_is_not_sent_when_airflow_refuses_second_intent(
    connect: Connect, serve: Serve, clock: LeapingClock
) -> None:
    """A try that Airflow has given up can neither release the record nor write the intent anew."""

    class GivenUp(Freezing):
        def sending(self) -> None:
            super().sending()
            if len(self.events) > 1:
                raise LedgerError("Airflow refuses the write")

    server = serve(answering(ACCEPTED))
    with pytest.raises(LedgerError):
        connect(server.url).create_video(REQUEST, GivenUp(clock, 75.0))
    assert server.posts == 0


@pytest.mark.parametrize(
    ("heartbeat_timeout", "stood_still", "sent"),
    [(None, 59.0, True), (None, 60.5, False), ("40", 19.0, True), ("40", 20.5, False), ("4000", 60.5, False)],
)
def test_latest_first_byte_is_sixty_seconds_or_half_of_heartbeat_timeout(
    connect: Connect,
    serve: Serve,
    clock: LeapingClock,
    monkeypatch: pytest.MonkeyPatch,
    heartbeat_timeout: str | None,
    stood_still: float,
    sent: bool,
) -> None:
    option = "TASK_INSTANCE_HEARTBEAT_TIMEOUT" if AIRFLOW >= (3, 0) else "SCHEDULER_ZOMBIE_TASK_THRESHOLD"
    if heartbeat_timeout is not None:
        monkeypatch.setenv(f"AIRFLOW__SCHEDULER__{option}", heartbeat_timeout)
    server = serve(answering(ACCEPTED))
    hook = connect(server.url)
    _ = hook.settings
    witness = Freezing(clock, stood_still)
    hook.create_video(REQUEST, witness)
    refused = [] if sent else ["sending", "not_accepted"]
    assert witness.events == [*refused, "sending", "accepted"]
    assert server.posts == 1


def test_create_is_unknown_where_process_stood_still_between_head_and_body(
    connect: Connect, serve: Serve, clock: LeapingClock, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[bytes] = []
    closed = threading.Event()

    def reading(peer: Peer) -> None:
        data = b""
        while received := peer.socket.recv(65536):
            data += received
        arrived.append(data)
        closed.set()

    server, witness, send = serve(reading), Witness(), http.client.HTTPConnection.send

    def stands_still_behind(connection: http.client.HTTPConnection, data: bytes) -> None:
        send(connection, data)
        clock.ahead = 61.0

    monkeypatch.setattr(http.client.HTTPConnection, "send", stands_still_behind)
    with pytest.raises(SubmissionUnknownError, match="s too late: this process was suspended"):
        connect(server.url).create_video(REQUEST, witness)
    assert closed.wait(PATIENCE)
    assert server.connections == 1
    assert witness.events == ["sending", "outcome_unknown"]
    assert waits == []
    (data,) = arrived
    assert data.startswith(b"POST ")
    assert data.endswith(b"\r\n\r\n")  # not a byte of the body


def test_create_is_accepted_where_process_stood_still_behind_whole_request(
    connect: Connect, serve: Serve, clock: LeapingClock
) -> None:
    def leaping(peer: Peer) -> None:
        peer.read_request()
        clock.ahead = 61.0
        peer.send(ACCEPTED)

    server, witness = serve(leaping), Witness()
    connect(server.url).create_video(REQUEST, witness)
    assert witness.events == ["sending", "accepted"]
    assert server.posts == 1


@pytest.mark.parametrize("name", UNKNOWN)
def test_exactly_one_post_and_an_unknown_outcome(connect: Connect, serve: Serve, waits: list[float], name: str) -> None:
    server = serve(UNKNOWN[name])
    witness = Witness()
    with pytest.raises(SubmissionUnknownError, match="not known whether"):
        connect(server.url, extra={"submit_timeout": 0.6}).create_video(REQUEST, witness)
    assert server.connections == 1
    assert server.posts <= 1
    assert witness.events == ["sending", "outcome_unknown"]
    assert waits == []
    assert not hasattr(server, "dripped"), "the submit time-out did not end it"


@pytest.mark.parametrize("name", UNKNOWN)
def test_the_same_on_a_query_changes_nothing_and_is_asked_again(
    connect: Connect, serve: Serve, waits: list[float], name: str
) -> None:
    broken = UNKNOWN[name]

    def script(peer: Peer) -> None:
        if peer.server.connections == 1:
            broken(peer)
        else:
            answering(http_answer(200, '{"id": "abc", "status": "processing"}'))(peer)

    server = serve(script)
    hook = connect(server.url, extra={"query_timeout": 1})
    if name in ("empty body", "an html page", "bad gzip", "broken json", "no id", "empty body, no content") or (
        name.startswith("HTTP")
    ):  # these keep the connection, and go on answering on it
        with pytest.raises(QueryError):
            hook.get_video("abc")
        assert len(waits) + 1 == len(server.requests) <= MOST_POSTS
    else:
        assert hook.get_video("abc").status == "processing"
        assert len(waits) == 1
    assert server.posts == 0


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (http_answer(502, "<html>upstream timed out</html>"), "upstream timed out"),
        (ACCEPTED[:-5], '"abc"'),
        (NO_LENGTH + b'{"id": "abc", "sta', '"abc"'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + QUEUED.encode(), '"abc"'),
    ],
)
def test_what_came_of_the_answer_is_in_the_message(connect: Connect, serve: Serve, answer: bytes, shown: str) -> None:
    """Even from a broken answer a person can read the ID."""
    server = serve(part(answer))
    with pytest.raises(SubmissionUnknownError) as caught:
        connect(server.url).create_video(REQUEST)
    assert shown in str(caught.value)


# --- F24, F25: the ID stands in the answer ----------------------------------------------------------------------------

TASK_ID = "T-20260131-0042"
LATE = json.dumps({"msg": "x" * 400, "object": "video", "id": TASK_ID, "status": "queued"})
"""A whole answer whose ID comes behind what an error shows of it."""
AT_ONCE = json.dumps({"id": TASK_ID, "status": "queued", "msg": "x" * 4000})
MEGABYTES = json.dumps({"msg": "x" * 1_000_000, "id": TASK_ID, "status": "queued", "model": "m"})


def with_length(length: int, body: bytes | str, status: int = 200, **headers: str) -> bytes:
    """An answer whose Content-Length is another one than its body has."""
    whole = http_answer(status, body, **headers)
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % length, whole)


def gzipped(text: str) -> bytes:
    # Random letters in the end: what gzip holds back in its buffers must not be the ID.
    noise = "".join(random.Random(1).choices("abcdefghijklmnop", k=2000))
    return gzip.compress(text[:-1].encode() + f', "noise": "{noise}"}}'.encode())


POSSIBLE_IDS: dict[str, Script] = {
    "length too large": part(with_length(9999, LATE)),
    "length too large, reset": part(with_length(9999, LATE), Peer.reset),
    "length too large, hang": part(with_length(9999, LATE), Peer.hang),
    "length too small": part(with_length(200, LATE)),
    "HTTP 500": part(http_answer(500, LATE)),
    "HTTP 500, length too large": part(with_length(9999, LATE, 500)),
    "HTTP 502, a page": part(http_answer(502, f"<html>{'x' * 400}<script>answer = {LATE}</script>")),
    "gzip cut short": part(http_answer(200, gzipped(LATE)[:-300], content_encoding="gzip")),
    "gzip cut short, length too large": part(with_length(9999, gzipped(LATE)[:-300], content_encoding="gzip")),
    "gzip broken": part(http_answer(200, gzipped(LATE)[:-300] + b"\xff" * 300, content_encoding="gzip")),
    "HTTP 500, gzip cut short": part(with_length(9999, gzipped(LATE)[:-300], 500, content_encoding="gzip")),
    "gzip in two members, HTTP 429": part(
        http_answer(429, gzipped("[" * 9) + gzipped(LATE), content_encoding="gzip, identity")
    ),
    "gzip that nothing announces, HTTP 429": part(http_answer(429, gzipped(LATE))),
    "said to be gzip": part(http_answer(200, LATE, content_encoding="gzip")),
    "chunks cut off": part(CHUNKED + b"%x\r\n%s\r\n" % (len(LATE), LATE.encode())),
    "broken chunks": part(CHUNKED + b"%x\r\n%s\r\nzz\r\n" % (len(LATE), LATE.encode())),
    "cut within the end": part(http_answer(200, LATE[:-3])),
    "longer than any answer": part(with_length(10**8, AT_ONCE[:-1] + " " * 5_000_000), Peer.hang),
    "long, cut short": part(with_length(10**8, MEGABYTES)),
    "no head": part(LATE.encode() + b"\r\n"),
    "a malformed head": part(b"HTTP/1.1 200 OK\r\nX Y: 1\r\n : \r\n\r\n" + LATE.encode()),
    "429 with taskId": answering(http_answer(429, json.dumps({"code": 429, "taskId": TASK_ID}))),
    "429 with id": answering(http_answer(429, json.dumps({"code": 429, "id": TASK_ID}))),
    "429 with videoId in data": answering(http_answer(429, json.dumps({"code": 429, "data": {"videoId": TASK_ID}}))),
    "200 with code 429": answering(http_answer(200, json.dumps({"code": 429, "data": {"task_id": TASK_ID}}))),
    "200 with code 1": answering(
        http_answer(200, json.dumps({"code": 1, "msg": "success", "data": {"taskId": TASK_ID}}))
    ),
    "200 with code 0": answering(http_answer(200, json.dumps({"code": 0, "data": {"taskId": TASK_ID}}))),
    "200 with code 204": answering(http_answer(200, json.dumps({"code": "204", "projectId": TASK_ID}))),
    **{
        f"{status} with projectId": answering(http_answer(status, json.dumps({"projectId": TASK_ID})))
        for status in (400, 401, 402, 403, 404, 405, 413, 415, 422, 308)
    },
    **{
        f"429 with task in {name}": answering(http_answer(429, json.dumps({"msg": "busy, queued", name: content})))
        for name, content in (
            ("data", [{"id": TASK_ID, "status": "queued"}]),
            ("result", {"id": TASK_ID, "status": "queued"}),
            ("queue", [{"id": TASK_ID}]),
        )
    },
    "429 with plain data": answering(http_answer(429, json.dumps({"code": 429, "data": TASK_ID}))),
    "429 with plain data in a list": answering(http_answer(429, json.dumps({"result": [TASK_ID]}))),
    "429 with task behind its length": part(with_length(2, '{}{"id": "' + TASK_ID + '"}', 429)),
    "429 with another answer behind it": part(
        http_answer(429, '{"code": 429}') + http_answer(200, json.dumps({"id": TASK_ID}))
    ),
    "429 with task in a list": answering(http_answer(429, json.dumps([{"id": TASK_ID}]))),
    "429 with task in GBK": answering(
        http_answer(429, f'{{"msg": "素材", "data": [{{"id": "{TASK_ID}"}}]}}'.encode("gbk"))
    ),
    "429 with task, cut within the end": answering(http_answer(429, f'{{"data": [{{"id": "{TASK_ID}"}}')),
    "200 with code 429 and task": answering(http_answer(200, json.dumps({"code": 429, "queue": {"id": TASK_ID}}))),
    "400 with task in data": answering(
        http_answer(400, json.dumps({"msg": "no", "data": {"task": {"id": TASK_ID, "status": "queued"}}}))
    ),
    **{
        f"200 with code {code} and data {data}": answering(
            http_answer(200, json.dumps({"code": code, "msg": "success", "data": data}))
        )
        for code, data in (
            (1, {"task": {"id": TASK_ID, "status": "queued"}}),
            (1, [{"id": TASK_ID, "status": "queued"}]),
            (1, TASK_ID),
            ("success", TASK_ID),
            (1, {"jobId": TASK_ID}),
            (429, {"jobId": TASK_ID}),
        )
    },
    "JSON in JSON": answering(http_answer(200, json.dumps({"code": 1, "data": json.dumps({"taskId": TASK_ID})}))),
}


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(429, '{"code": 429, "data": {"ta'),
        http_answer(429, gzip.compress(b'{"code": 429, "data": {"taskId": "v1"}}')[:20], content_encoding="gzip"),
        *(
            http_answer(200, json.dumps({"code": code, "msg": "accepted", "data": None}))
            for code in (201, "202", "success", "OK", "00000")
        ),
    ],
)
def test_answer_that_is_cut_or_says_success_proves_no_refusal(
    connect: Connect, serve: Serve, waits: list[float], answer: bytes
) -> None:
    server = serve(answering(answer))
    with pytest.raises(SubmissionUnknownError):
        connect(server.url).create_video(REQUEST)
    assert server.posts == 1
    assert waits == []


@pytest.mark.parametrize("name", POSSIBLE_IDS)
def test_id_in_answer_that_is_no_acceptance_is_kept_and_nothing_sent_again(
    connect: Connect, serve: Serve, waits: list[float], name: str
) -> None:
    server = serve(POSSIBLE_IDS[name])
    kept: list[SubmissionUnknownError] = []

    class Keeping(Witness):
        def outcome_unknown(self, why: SubmissionUnknownError) -> None:
            super().outcome_unknown(why)
            kept.append(why)

    witness = Keeping()
    with pytest.raises(SubmissionUnknownError, match=f"An ID stands in the answer: {TASK_ID}") as caught:
        connect(server.url, extra={"submit_timeout": 2}).create_video(REQUEST, witness)
    assert server.posts == 1
    assert waits == []
    assert witness.events == ["sending", "outcome_unknown"]
    assert kept == [caught.value]
    assert caught.value.video_task_id == TASK_ID


@pytest.mark.parametrize("content", [{"taskId": None}, {"taskId": ""}, {"data": {"projectId": None}}, {"taskId": []}])
def test_empty_id_in_rate_limit_does_not_keep_create_from_being_sent_again(
    connect: Connect, serve: Serve, waits: list[float], content: dict[str, Any]
) -> None:
    server = serve(answering(http_answer(429, json.dumps({"code": 429, **content})), ACCEPTED))
    assert connect(server.url).create_video(REQUEST).id == "abc"
    assert server.posts == 2


def test_long_answer_is_an_acceptance_and_only_what_is_documented_is_kept(connect: Connect, serve: Serve) -> None:
    server = serve(answering(http_answer(200, MEGABYTES)))
    task = connect(server.url).create_video(REQUEST)
    assert (task.id, task.model, task.raw.get("msg")) == (TASK_ID, "m", None)
    assert server.posts == 1


def test_a_whole_answer_of_unknown_length_is_an_answer(connect: Connect, serve: Serve) -> None:
    assert connect(serve(part(NO_LENGTH + QUEUED.encode())).url).create_video(REQUEST).id == "abc"


def test_a_whole_answer_is_not_lost_because_its_end_drips(connect: Connect, serve: Serve) -> None:
    """Only blanks are missing when the time is up: the ID is there, and the video is paid for."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(NO_LENGTH + QUEUED.encode())
        while not peer.hang(0.05):
            peer.send(b" ")

    assert connect(serve(script).url, extra={"submit_timeout": 0.6}).create_video(REQUEST).id == "abc"


def test_a_chunked_answer(connect: Connect, serve: Serve) -> None:
    body = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(QUEUED), QUEUED.encode())
    assert connect(serve(part(body)).url).create_video(REQUEST).id == "abc"


def test_a_slow_answer_within_the_time_out_is_an_answer(connect: Connect, serve: Serve) -> None:
    server = serve(drip(b"HTTP/1.0 200 OK\r\n\r\n" + QUEUED.encode()))
    assert connect(server.url, extra={"submit_timeout": 25}).create_video(REQUEST).id == "abc"


def test_query_about_another_task_changes_nothing_and_is_asked_again(
    connect: Connect, serve: Serve, waits: list[float]
) -> None:
    completed = {"id": "OTHER", "status": "completed", "video_url": "https://cdn.example.com/other.mp4"}
    failed = {"id": 404, "status": "failed", "error": "Not Found"}
    own = {"id": "abc", "status": "processing"}
    server = serve(answering(*(http_answer(200, json.dumps(content)) for content in (completed, failed, own))))
    task = connect(server.url).get_video("abc")
    assert (task.id, task.status, task.video_url) == ("abc", "processing", None)
    assert len(waits) == 2


def test_hook_takes_sent_clip_for_no_result(connect: Connect, serve: Serve) -> None:
    clip = {"id": "abc", "status": "completed", "video_url": REQUEST.video_url}
    server = serve(answering(http_answer(200, json.dumps(clip))))
    hook = connect(server.url)
    for task in (
        hook.create_video(REQUEST),
        hook.query_video("abc", REQUEST.video_url),
        hook.get_video("abc", REQUEST.video_url + "?signed=again"),
    ):
        assert (task.status, task.video_url) == ("completed", None)
    assert hook.query_video("abc").video_url == REQUEST.video_url
    assert server.posts == 1


def test_a_connection_closed_while_idle_costs_nothing(connect: Connect, serve: Serve, waits: list[float]) -> None:
    """A kept connection that the server has closed must not make the next create an unknown outcome."""

    def one_answer_each(peer: Peer) -> None:
        peer.read_request()
        peer.send(ACCEPTED)  # which says keep-alive, and then the connection is closed all the same

    server = serve(one_answer_each)
    hook = connect(server.url)
    for _ in range(5):
        assert hook.get_video("abc").id == "abc"
        assert hook.create_video(REQUEST).id == "abc"
    assert server.posts == 5


def test_a_connection_closed_at_the_moment_of_the_create_costs_nothing(connect: Connect, serve: Serve) -> None:
    """The server resets a kept connection when the next request arrives: the create must not be that request."""

    def reset_the_second(peer: Peer) -> None:
        peer.read_request()
        peer.send(ACCEPTED)
        peer.socket.recv(1)
        peer.reset()

    server = serve(reset_the_second)
    hook = connect(server.url)
    assert hook.get_video("abc").id == "abc"
    assert hook.create_video(REQUEST).id == "abc"
    assert hook.create_video(REQUEST).id == "abc"
    assert server.posts == 2


def test_a_query_in_another_thread_does_not_make_a_lost_create_look_unsent(
    connect: Connect, serve: Serve, waits: list[float]
) -> None:
    create_arrived, query_failed = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.server.refuse_more()
        create_arrived.set()
        query_failed.wait(PATIENCE)
        peer.reset()

    server = serve(script)
    hook = connect(server.url)
    said: list[str] = []

    def ask() -> None:
        create_arrived.wait(PATIENCE)
        try:
            hook.query_video("abc")
        except QueryError as error:
            said.append(str(error))
        query_failed.set()

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(SubmissionUnknownError):
        hook.create_video(REQUEST)
    asking.join(PATIENCE)
    assert len(said) == 1
    assert server.posts == 1
    assert waits == []


# --- answers that are echoes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_an_echoed_key_is_not_shown(connect: Connect, serve: Serve, waits: list[float], key: str, status: int) -> None:
    body = json.dumps({"code": 1001, "msg": f"Authorization: Bearer {key}"})
    server = serve(answering(http_answer(status, body)))
    hook = connect(server.url)
    for call in (lambda: hook.create_video(REQUEST), lambda: hook.get_video("abc")):
        with pytest.raises(DigitalHumanError) as caught:
            call()
        assert key not in str(caught.value)
    assert key not in hook.test_connection()[1]


def test_a_key_echoed_as_something_else_than_http(connect: Connect, serve: Serve, key: str) -> None:
    server = serve(part(f"Bearer {key}\r\n".encode()))
    with pytest.raises(SubmissionUnknownError) as caught:
        connect(server.url).create_video(REQUEST)
    assert key not in str(caught.value)


def test_a_key_echoed_in_a_broken_answer(connect: Connect, serve: Serve, key: str) -> None:
    server = serve(part(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nBearer " + key.encode()))
    with pytest.raises(SubmissionUnknownError) as caught:
        connect(server.url).create_video(REQUEST)
    assert key not in str(caught.value)


@pytest.mark.parametrize("head", [b"HTTP/1.1 500 No\r\nContent-Length: 500\r\n\r\nBearer ", b"Bearer "])
def test_echoed_key_that_breaks_off_is_not_shown(connect: Connect, serve: Serve, key: str, head: bytes) -> None:
    server = serve(part(head + key[:-3].encode()))
    with pytest.raises(SubmissionUnknownError, match=r"Bearer \*\*\*") as caught:
        connect(server.url).create_video(REQUEST)
    assert key[: len(key) // 2] not in str(caught.value)


@pytest.mark.parametrize("key", ["video", "abc", "sandbox", "queued", "id"])
def test_a_short_key_does_not_spoil_the_answer(connect: Connect, serve: Serve, key: str) -> None:
    content = {"id": "abc", "object": "video", "status": "completed", "video_url": "http://127.0.0.1/sandbox/abc.mp4"}
    server = serve(answering(http_answer(200, json.dumps(content))))
    task = connect(server.url, password=key).get_video("abc")
    assert (task.id, task.video_url, task.is_completed) == ("abc", content["video_url"], True)


def test_a_refused_key_ends_at_once(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(http_answer(200, '{"code": "204", "msg": "登录验证失败"}')))
    with pytest.raises(AuthenticationError):
        connect(server.url).create_video(REQUEST)
    assert server.posts == 1
    assert waits == []


def test_the_wait_for_a_slow_server_is_the_create_time_out_and_not_the_querys(connect: Connect, serve: Serve) -> None:
    def slow(peer: Peer) -> None:
        while peer.read_request():
            time.sleep(0.5)
            peer.send(ACCEPTED)

    hook = connect(serve(slow).url, extra={"query_timeout": 0.1, "connect_timeout": 0.1})
    assert hook.create_video(REQUEST).id == "abc"
    with pytest.raises(QueryError):
        hook.query_video("abc")
