"""The triggerer's HTTP client: it reaches the API as the hook does, keeps connections, and takes nothing but HTTP."""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_digitalhuman.api.encoding import MAX_ANSWER
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection import query_client as client_module
from airflow_provider_digitalhuman.connection.query_client import QueryClient
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InvalidConnectionError,
    QueryError,
    RateLimitError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from tests.support.raw_server import Peer, RawServer, answering, http_answer, tunnel_to
from tests.support.waiting_scenarios import COMPLETED, ID, NOT_HTTP, PROCESSING
from tests.unit.conftest import KEY

OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[..., RawServer]


def settings(url: str, **fields: Any) -> ConnectionSettings:
    return ConnectionSettings(**{"api_key": KEY, "base_url": url, **fields})


def query(url: str, times: int = 1, **fields: Any) -> VideoTask:
    async def main() -> VideoTask:
        client = await QueryClient.open(settings(url, **fields))
        try:
            for _ in range(times):
                task = await client.query_video(ID)
            return task
        finally:
            await client.close()

    return asyncio.run(asyncio.wait_for(main(), 60))


class TestRequest:
    def test_request_is_the_hooks(self, serve: Serve, connect: Callable[..., DigitalHumanHook]) -> None:
        server = serve(answering(COMPLETED))
        base = server.url + "/kyyReactApiServer"
        assert connect(base).query_video(ID) == query(base)
        by_hook, by_client = server.requests
        assert by_client.target == by_hook.target == "/kyyReactApiServer/v1/result/vt%2F%C3%A4%201"
        assert by_client.method == by_hook.method == "GET"
        for name in ("authorization", "user-agent", "accept", "accept-encoding", "host"):
            assert by_client.headers[name] == by_hook.headers[name]

    def test_connection_is_kept_and_used_again(self, serve: Serve) -> None:
        server = serve(answering(PROCESSING))
        query(server.url, times=10)
        assert (len(server.requests), server.connections) == (10, 1)

    def test_connection_that_server_closed_is_replaced(self, serve: Serve) -> None:
        def script(peer: Peer) -> None:
            assert peer.read_request()
            peer.send(PROCESSING)  # and closes, having said keep-alive

        server = serve(script)
        query(server.url, times=5)
        assert server.connections == 5

    def test_old_connection_is_not_used_again(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client_module, "LONGEST_IDLE", 0.0)
        server = serve(answering(PROCESSING))
        query(server.url, times=3)
        assert server.connections == 3

    def test_answer_counts_as_it_comes_also_after_same_ones(self, serve: Serve) -> None:
        def script(peer: Peer) -> None:
            for answer in (PROCESSING, PROCESSING, COMPLETED):
                assert peer.read_request()
                peer.send(answer)

        server = serve(script)
        assert query(server.url, times=3).status == "completed"
        assert (len(server.requests), server.connections) == (3, 1)

    @pytest.mark.parametrize("pause", [0.0, 0.1], ids=["with the answer", "after it"])
    @pytest.mark.parametrize("by_tls", [False, True], ids=["plain", "TLS"])
    def test_answer_that_comes_unasked_is_not_taken(
        self, by_tls: bool, pause: float, serve: Serve, server_tls: ssl.SSLContext
    ) -> None:
        def script(peer: Peer) -> None:
            while peer.read_request():
                peer.send(PROCESSING if pause else PROCESSING + COMPLETED)
                if pause:
                    time.sleep(pause)
                    peer.send(COMPLETED)

        async def main() -> list[str]:
            client = await QueryClient.open(settings(server.url, verify=False))
            try:
                words = []
                for _ in range(3):
                    words.append((await client.query_video(ID)).status)
                    await asyncio.sleep(3 * pause)
                return words
            finally:
                await client.close()

        server = serve(script, server_tls if by_tls else None)
        assert asyncio.run(main()) == ["processing"] * 3
        assert server.connections == 3

    @pytest.mark.parametrize("by_tls", [False, True], ids=["plain", "TLS"])
    def test_server_that_closes_before_it_is_asked_is_not_waited_for(
        self, by_tls: bool, serve: Serve, server_tls: ssl.SSLContext
    ) -> None:
        server = serve(lambda peer: None, server_tls if by_tls else None)
        for _ in range(20):  # whether the end comes before the question is chance
            with pytest.raises(QueryError, match=r"disconnected|reset|closing transport"):
                query(server.url, verify=False)

    def test_reset_is_tried_again_once(self, serve: Serve) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.reset()

        server = serve(script)
        with pytest.raises(QueryError, match=r"brought no answer"):
            query(server.url)
        assert len(server.requests) == 2

    @pytest.mark.parametrize("how", ["no HTTP", "cancelled"])
    def test_connection_of_failed_query_is_closed(self, how: str, serve: Serve) -> None:
        asked, gone = threading.Event(), threading.Event()

        def script(peer: Peer) -> None:
            peer.read_request()
            asked.set()
            if how == "no HTTP":
                peer.send(NOT_HTTP)
            with contextlib.suppress(OSError):
                peer.read_request()
            gone.set()

        async def main() -> None:
            client = await QueryClient.open(settings(server.url))
            query = asyncio.create_task(client.query_video(ID))
            assert await asyncio.to_thread(asked.wait, 30)
            if how == "cancelled":
                query.cancel()
            with pytest.raises((QueryError, asyncio.CancelledError)):
                await query
            assert await asyncio.to_thread(gone.wait, 20)

        server = serve(script)
        asyncio.run(main())

    def test_connection_close_is_obeyed(self, serve: Serve) -> None:
        server = serve(answering(http_answer(200, PROCESSING.split(b"\r\n\r\n")[1], keep_alive=False)))
        query(server.url, times=2)
        assert server.connections == 2


class TestLimits:
    def test_silent_server_is_given_up(self, serve: Serve) -> None:
        server = serve(lambda peer: (peer.read_request(), peer.hang()))
        with pytest.raises(QueryError, match="TimeoutError"):
            query(server.url, query_timeout=0.2, connect_timeout=0.2)

    def test_each_query_has_its_own_time(self, serve: Serve) -> None:
        hung = threading.Event()

        def script(peer: Peer) -> None:
            while peer.read_request():
                if hung.is_set():
                    peer.send(COMPLETED)
                else:
                    peer.hang()

        async def main() -> None:
            client = await QueryClient.open(settings(server.url, query_timeout=0.4, connect_timeout=0.2))
            loop = asyncio.get_running_loop()

            async def seconds_to_the_end(after: float) -> float:
                await asyncio.sleep(after)
                asked = loop.time()
                with pytest.raises(QueryError, match=r"TimeoutError: no whole answer within 0\.6 s"):
                    await client.query_video(ID)
                return loop.time() - asked

            assert min(await asyncio.gather(*map(seconds_to_the_end, (0.0, 0.2, 0.4)))) > 0.55
            hung.set()
            assert (await client.query_video(ID)).is_completed
            await client.close()
            left = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            assert left == []

        server = serve(script)
        asyncio.run(main())

    def test_dripping_server_is_given_up(self, serve: Serve) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            with contextlib.suppress(OSError):
                for byte in PROCESSING:
                    peer.send(bytes([byte]))
                    if peer.server.closing.wait(0.1):
                        return

        with pytest.raises(QueryError, match="TimeoutError"):
            query(serve(script).url, query_timeout=0.5, connect_timeout=0.2)

    def test_refused_connection_is_query_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(QueryError, match=r"refused|Connect"):
            query(f"http://127.0.0.1:{port}")

    @pytest.mark.parametrize(
        "answer",
        [
            http_answer(200, b"x" * (MAX_ANSWER + 1)),
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_ANSWER + b"\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"FFF\r\n" + b"x" * 4095 + b"\r\n") * 20,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER + 1),
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
            % (len(_BOMB := zlib.compress(b"x" * 10_000_000, wbits=31)), _BOMB),
            NOT_HTTP,
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n0123456789",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n Folded: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
            b"",
        ],
    )
    def test_answer_that_is_too_long_or_no_http_is_query_error(self, answer: bytes, serve: Serve) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            with contextlib.suppress(OSError):
                peer.send(answer)

        with pytest.raises(QueryError):
            query(serve(script).url, query_timeout=5.0)

    def test_url_reaches_server_as_given(self, serve: Serve) -> None:
        server = serve(answering(COMPLETED))
        query(server.url + "/a%2Db%7e/./c")
        assert server.requests[0].target == "/a%2Db%7e/./c/v1/result/vt%2F%C3%A4%201"

    def test_cookie_is_not_sent_back(self, serve: Serve) -> None:
        server = serve(answering(http_answer(200, PROCESSING.split(b"\r\n\r\n")[1], set_cookie="a=b; Path=/")))
        query(server.url, times=2)
        assert "cookie" not in server.requests[1].headers

    def test_netrc_is_not_read(self, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        server = serve(answering(COMPLETED))
        query(server.url)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"

    def test_interim_answer_is_passed_over(self, serve: Serve) -> None:
        assert query(serve(answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + COMPLETED)).url).is_completed

    def test_compressed_answer_is_read_all_the_same(self, serve: Serve) -> None:
        body = zlib.compress(COMPLETED.split(b"\r\n\r\n")[1], wbits=31)
        assert query(serve(answering(http_answer(200, body, content_encoding="gzip"))).url).is_completed

    def test_redirects_are_not_followed(self, serve: Serve) -> None:
        elsewhere = serve(answering(COMPLETED))
        with pytest.raises(QueryError, match="HTTP 302"):
            query(serve(answering(http_answer(302, "", location=elsewhere.url))).url)
        assert elsewhere.requests == []

    def test_retry_after_arrives(self, serve: Serve) -> None:
        with pytest.raises(RateLimitError) as caught:
            query(serve(answering(http_answer(429, "{}", retry_after="17"))).url)
        assert caught.value.retry_after == 17.0


class TestSecrets:
    def test_key_that_server_echoes_is_not_shown(self, serve: Serve) -> None:
        with pytest.raises(AuthenticationError) as caught:
            query(serve(answering(http_answer(401, json.dumps({"error": f"bad key {KEY}"})))).url)
        assert KEY not in str(caught.value)

    def test_key_is_not_shown_in_error_of_transport(self, serve: Serve) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(f"{KEY} is not HTTP\r\n\r\n".encode())

        with pytest.raises(QueryError) as caught:
            query(serve(script).url)
        assert KEY not in str(caught.value)


class TestTls:
    def test_authorities_are_checked(self, serve: Serve, server_tls: ssl.SSLContext) -> None:
        with pytest.raises(QueryError, match=r"certificate.*extra\.verify.*workers and triggerer.*SSL_CERT_FILE"):
            query(serve(answering(COMPLETED), server_tls).url)

    def test_ca_file_is_trusted(self, serve: Serve, server_tls: ssl.SSLContext, certificate: Path) -> None:
        server = serve(answering(PROCESSING), server_tls)
        query(server.url, times=3, verify=str(certificate))
        assert server.connections == 1

    def test_ca_file_of_environment_is_trusted_as_by_requests(
        self, serve: Serve, server_tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert query(serve(answering(COMPLETED), server_tls).url).is_completed

    def test_host_name_is_checked(self, serve: Serve, server_tls: ssl.SSLContext, certificate: Path) -> None:
        server = serve(answering(COMPLETED), server_tls)
        with pytest.raises(QueryError, match="certificate"):
            query(f"https://localhost:{server.port}", verify=str(certificate))

    def test_checks_can_be_turned_off(self, serve: Serve, server_tls: ssl.SSLContext) -> None:
        assert query(serve(answering(COMPLETED), server_tls).url, verify=False).is_completed

    def test_file_that_is_no_ca_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("no certificate")
        with pytest.raises(InvalidConnectionError, match="verify"):
            query("https://127.0.0.1:9", verify=str(tmp_path / "ca.pem"))

    def test_older_version_of_tls_is_spoken(self, serve: Serve, server_tls: ssl.SSLContext) -> None:
        server_tls.maximum_version = ssl.TLSVersion.TLSv1_2
        server = serve(answering(PROCESSING), server_tls)
        query(server.url, times=3, verify=False)
        assert server.connections == 1

    def test_answer_in_many_records_is_one(self, serve: Serve, server_tls: ssl.SSLContext) -> None:
        def script(peer: Peer) -> None:
            while peer.read_request():
                for at in range(len(COMPLETED)):
                    peer.send(COMPLETED[at : at + 1])

        server = serve(script, server_tls)
        assert query(server.url, times=2, verify=False).is_completed
        assert server.connections == 1

    def test_long_answer_is_read_whole(self, serve: Serve, server_tls: ssl.SSLContext) -> None:
        body = json.dumps({"id": ID, "words": "x" * (MAX_ANSWER - 100), "status": "processing"})
        server = serve(answering(http_answer(200, body)), server_tls)
        assert query(server.url, times=2, verify=False).raw == {"id": ID, "status": "processing"}  # what goes into XCom
        assert server.connections == 1

    def test_connection_whose_tls_ended_is_not_used_again(self, serve: Serve, server_tls: ssl.SSLContext) -> None:
        def script(peer: Peer) -> None:
            assert peer.read_request()
            peer.send(PROCESSING)
            peer.socket.settimeout(0.5)
            with contextlib.suppress(OSError):
                peer.socket.unwrap()  # type: ignore[attr-defined]
            peer.hang()

        server = serve(script, server_tls)
        query(server.url, times=3, verify=False)
        assert (len(server.requests), server.connections) == (3, 3)

    def test_plain_bytes_within_tls_are_query_error(self, serve: Serve, server_tls: ssl.SSLContext) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            socket.socket.send(peer.socket, COMPLETED)  # past TLS
            peer.hang()

        with pytest.raises(QueryError, match="SSL"):
            query(serve(script, server_tls).url, verify=False)

    @pytest.mark.parametrize(
        ("says", "reason"),
        [
            (lambda peer: peer.socket.recv(10), "ConnectionResetError|reset by peer|closed during the TLS handshake"),
            (lambda peer: peer.send(NOT_HTTP), "SSLError"),
            (lambda peer: peer.hang(), "TimeoutError"),
        ],
        ids=["closes", "speaks no TLS", "says nothing"],
    )
    def test_failed_tls_handshake_is_query_error(
        self, says: Callable[[Peer], object], reason: str, serve: Serve
    ) -> None:
        server = serve(says)
        with pytest.raises(QueryError, match=reason):
            query(server.url.replace("http://", "https://"), connect_timeout=0.5)
        assert server.connections == 1

    def test_query_cancelled_in_handshake_leaves_nothing_open(self, serve: Serve) -> None:
        asked, gone = threading.Event(), threading.Event()

        def script(peer: Peer) -> None:
            peer.socket.recv(4096)
            asked.set()
            with contextlib.suppress(OSError):
                while peer.socket.recv(4096):
                    pass
            gone.set()

        async def main() -> None:
            client = await QueryClient.open(settings(server.url.replace("http://", "https://")))
            query = asyncio.create_task(client.query_video(ID))
            assert await asyncio.to_thread(asked.wait, 20)
            query.cancel()
            with pytest.raises(asyncio.CancelledError):
                await query
            assert await asyncio.to_thread(gone.wait, 20)

        server = serve(script)
        asyncio.run(main())


class TestProxy:
    def test_plain_http_goes_to_proxy_whole(self, serve: Serve) -> None:
        proxy = serve(answering(COMPLETED))
        url = proxy.url.replace("http://", "http://user:p%40ss@")
        assert query("http://api.example.com/base", proxies={"http": url}).is_completed
        request = proxy.requests[0]
        assert request.target == "http://api.example.com/base/v1/result/vt%2F%C3%A4%201"
        assert request.headers["host"] == "api.example.com"
        assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()

    @pytest.mark.parametrize("to_proxy_by_tls", [False, True])
    def test_proxy_tunnels_https_and_never_sees_key(
        self, to_proxy_by_tls: bool, serve: Serve, server_tls: ssl.SSLContext, certificate: Path
    ) -> None:
        api = serve(answering(PROCESSING), server_tls)
        proxy = serve(tunnel_to(api.port), server_tls if to_proxy_by_tls else None)
        url = proxy.url.replace("://", "://user:pass@")
        query(api.url, times=3, proxies={"https": url}, verify=str(certificate))
        assert [request.method for request in proxy.requests] == ["CONNECT"]
        assert proxy.requests[0].target == f"127.0.0.1:{api.port}"
        assert KEY not in str(proxy.requests[0].headers)
        assert "proxy-authorization" in proxy.requests[0].headers
        assert len(api.requests) == 3
        assert "proxy-authorization" not in api.requests[0].headers

    def test_proxys_own_words_behind_its_consent_are_no_answer(
        self, serve: Serve, server_tls: ssl.SSLContext, certificate: Path
    ) -> None:
        api = serve(answering(PROCESSING), server_tls)
        proxy = serve(tunnel_to(api.port, slipped_in=COMPLETED))
        task = query(api.url, proxies={"https": proxy.url}, verify=str(certificate))
        assert task.status == "processing"
        assert len(api.requests) == 1

    def test_proxy_that_refuses_is_query_error(self, serve: Serve) -> None:
        proxy = serve(answering(http_answer(407, "")))
        with pytest.raises(QueryError, match=r"the proxy refused to connect to api\.example\.com: HTTP 407"):
            query("https://api.example.com", proxies={"https": proxy.url})

    def test_proxy_of_environment_is_used_as_by_requests(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        proxy = serve(answering(COMPLETED))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert query("http://api.example.com").is_completed
        assert query(serve(answering(COMPLETED)).url).is_completed
        assert len(proxy.requests) == 1

    def test_query_client_rejects_socks_proxy(self) -> None:
        with pytest.raises(InvalidConnectionError, match=r"SOCKS.*deferrable=False"):
            query("https://api.example.com", proxies={"https": "socks5://127.0.0.1:1080"})


def test_unknown_host_is_providers_error(serve: Serve) -> None:
    with pytest.raises(DigitalHumanError):
        query("http://name.invalid")
