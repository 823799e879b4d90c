"""Create, query and download through a SOCKS5 proxy that asks for a login."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.connection.fetching import FileSession
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import ServiceUnreachableError
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from tests.support.raw_server import RawServer, answering, http_answer, socks5_to

REQUEST = VideoRequest("https://media.example.com/speech.mp3", "https://media.example.com/person.mp4")
MEDIA = {"audio_url": "http://127.0.0.1/speech.mp3", "video_url": "http://127.0.0.1/person.mp4"}
COMPLETED = '{"id": "abc", "status": "completed", "video_url": "https://videos.example.com/abc.mp4"}'
ACCEPTED = http_answer(200, '{"id": "abc", "status": "queued"}')
USER, PASSWORD = "user", "proxy-passw@rd"

Connect = Callable[..., DigitalHumanHook]
Serve = Callable[..., RawServer]


def address(proxy: RawServer, *, scheme: str = "socks5h", password: str = "proxy-passw%40rd") -> str:
    return f"{scheme}://{USER}:{password}@127.0.0.1:{proxy.port}"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_create_and_query(
    connect: Connect,
    serve: Serve,
    server_tls: ssl.SSLContext,
    certificate: Path,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
) -> None:
    api = serve(answering(ACCEPTED), server_tls)
    proxy = serve(socks5_to(api.port, USER, PASSWORD))
    caplog.set_level(logging.DEBUG)
    extra = {"proxies": address(proxy, scheme=scheme), "verify": str(certificate)}
    hook = connect("https://127.0.0.1:1", extra=extra)  # nothing listens there: it is the proxy that gets through
    assert hook.create_video(REQUEST).id == "abc"
    assert hook.get_video("abc").id == "abc"
    assert [(one.method, one.target) for one in proxy.requests] == [("SOCKS", "127.0.0.1:1")]
    assert [one.method for one in api.requests] == ["POST", "GET"]
    assert PASSWORD not in caplog.text


def test_a_login_that_is_refused_leaves_nothing_sent(connect: Connect, serve: Serve, waits: list[float]) -> None:
    api = serve(answering(ACCEPTED))
    proxy = serve(socks5_to(api.port, USER, PASSWORD))
    hook = connect("http://127.0.0.1:1", extra={"proxies": address(proxy, password="wrong-passw0rd")})
    with pytest.raises(ServiceUnreachableError) as caught:
        hook.create_video(REQUEST)
    assert "wrong-passw0rd" not in str(caught.value)
    assert proxy.connections > 1  # nothing had left, so it was tried again
    assert (api.connections, api.posts) == (0, 0)


@pytest.mark.parametrize(("deferrable", "proxied"), [(True, True), (False, True), (True, False)])
def test_a_wait_that_the_triggerer_cannot_make_is_not_paid_for(
    connect: Connect,
    serve: Serve,
    context: dict[str, Any],
    make_operator: Callable[..., Any],
    deferrable: bool,
    proxied: bool,
) -> None:
    api = serve(answering(ACCEPTED, http_answer(200, COMPLETED)))
    proxy = serve(socks5_to(api.port, USER, PASSWORD))
    connect(f"http://127.0.0.1:{api.port}", extra={"proxies": address(proxy)} if proxied else {})
    operator = make_operator(**MEDIA, wait_for_completion=True, deferrable=deferrable)
    if deferrable and proxied:
        with pytest.raises(AirflowFailException, match="SOCKS proxy cannot be used by the triggerer"):
            operator.execute(context)
        assert api.connections == 0
    else:
        assert operator.execute(context) == "abc"
        assert api.posts == 1


def test_a_file(serve: Serve) -> None:
    store = serve(answering(http_answer(200, b"video", content_type="video/mp4")))
    proxy = serve(socks5_to(store.port, USER, PASSWORD))
    proxies = dict.fromkeys(("http", "https"), address(proxy))
    session = FileSession(FileAccess(proxies=proxies), allow_private_hosts=False, read_timeout=10)
    with session, session.open("http://store.example.com/video.mp4") as response:
        assert response.content == b"video"
    # The proxy looks the name up, so it is one that this machine need not know.
    assert [one.target for one in proxy.requests] == ["store.example.com:80"]
