"""The key is searched for in everything that a run leaves behind: logs, errors, XComs, records, fields, reprs.

Signed URLs are secrets, too: their query strings are searched for in the same places, except where Airflow itself
keeps a task's arguments.
"""

import json
import ssl
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import DigitalHumanError
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from tests.support.raw_server import Peer, RawServer, Script, answering, http_answer

Serve = Callable[..., RawServer]
Make = Callable[..., CreateDigitalHumanVideoOperator]

SIGNATURE = "X-Sig-7d1e4c"
AUDIO_URL = f"https://media.example.com/speech.mp3?Signature={SIGNATURE}"
VIDEO_URL = f"https://user:{SIGNATURE}@media.example.com/person.mp4?Signature={SIGNATURE}#{SIGNATURE}"
KEY = "sk-4f1d-this-is-the-key-9c2b"
ECHO = json.dumps(
    {
        "code": 1001,
        "msg": f"Authorization: Bearer {KEY}",
        "request": {"audioUrl": AUDIO_URL, "videoUrl": VIDEO_URL, "header": KEY},
    }
)
TASK = {"id": "abc", "status": "queued"}
ECHOED_TASK = {**TASK, "debug": {"Authorization": f"Bearer {KEY}"}, KEY: [KEY], "model": KEY, "object": KEY}
BROKEN_ECHO = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + ECHO.encode()


def sending(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return script


def hang(peer: Peer) -> None:
    peer.read_request()
    peer.hang()


def reset(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


SCENARIOS: dict[str, Script] = {
    "accepted": answering(http_answer(200, json.dumps(TASK))),
    "accepted, with an echo": answering(http_answer(200, json.dumps(ECHOED_TASK))),
    "accepted in an envelope, with an echo": answering(http_answer(200, json.dumps({"code": 0, "data": ECHOED_TASK}))),
    "failed at once, with an echo": answering(
        http_answer(200, json.dumps({**TASK, "status": "failed", "error": {"code": "X", "message": f"bad {KEY}"}}))
    ),
    "refused": answering(http_answer(200, ECHO)),
    "login failed": answering(http_answer(200, json.dumps({"code": "204", "msg": f"登录验证失败 {KEY}"}))),
    **{f"HTTP {status}": answering(http_answer(status, ECHO)) for status in (400, 401, 402, 403, 404, 429, 500, 503)},
    "redirect": answering(http_answer(307, location=f"https://elsewhere.example.com/{KEY}?key={KEY}")),
    "html": answering(http_answer(200, f"<html>{KEY} <a href='{AUDIO_URL}'></html>")),
    "escaped echo": answering(
        http_answer(400, ECHO.replace("/", "\\/").replace("&", "\\u0026").replace("-", "\\u002d"))
    ),
    "truncated echo": sending(BROKEN_ECHO),
    "no HTTP": sending(f"Bearer {KEY}\r\n\r\n".encode()),
    "a bad status line": sending(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
    "a bad content length": sending(f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n{ECHO}".encode()),
    "a bad chunk": sending(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode()),
    "a bad retry-after": answering(http_answer(429, retry_after=KEY)),
    "hang": hang,
    "reset": reset,
}


@pytest.fixture(autouse=True)
def _without_airflows_masking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow masks the passwords that it has read in what it logs; here it shall not help."""
    for module in list(sys.modules.values()):
        masker = vars(module).get("SecretsMasker") if module.__name__.startswith("airflow") else None
        if isinstance(masker, type):
            monkeypatch.setattr(masker, "add_mask", lambda *args, **kwargs: None)
            monkeypatch.setattr(masker, "redact", lambda self, item, *args, **kwargs: item)


class Evidence:
    """All that is left behind, as one text each."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, name: str, *things: Any) -> None:
        for thing in things:
            self.texts[name] = self.texts.get(name, "") + "\n" + (thing if isinstance(thing, str) else repr(thing))

    def add_error(self, error: BaseException) -> None:
        """An error with all that it came from; of what ``from None`` keeps out of the traceback, this provider's."""
        self.add("traceback", "".join(traceback.format_exception(error)))
        seen: list[BaseException] = []
        pending: list[BaseException | None] = [error]
        while pending:
            one = pending.pop()
            if one is None or one in seen:
                continue
            seen.append(one)
            self.add("error", str(one), one, one.args)
            self.add("notes", getattr(one, "__notes__", []))
            pending += [one.__cause__, one.__context__ if isinstance(one.__context__, DigitalHumanError) else None]

    def holding(self, *secrets: str) -> list[str]:
        return [name for name, text in self.texts.items() if any(secret in text for secret in secrets)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_shows_neither_key_nor_signature(
    connect: Any,
    serve: Serve,
    context: dict[str, Any],
    records: Any,
    ti: Any,
    waits: list[float],
    make_operator: Make,
    everything_logged: Callable[[], str],
    name: str,
) -> None:
    server = serve(SCENARIOS[name])
    hook = connect(server.url, password=KEY, extra={"submit_timeout": 0.5, "query_timeout": 0.5})
    operator = make_operator(audio_url=AUDIO_URL, video_url=VIDEO_URL)
    evidence = Evidence()
    for call in (
        lambda: operator.execute(context),
        lambda: hook.get_video("abc"),
        lambda: hook.create_video(operator._request(hook)),
        hook.test_connection,
    ):
        try:
            result = call()
        except Exception as error:
            evidence.add_error(error)
        else:
            evidence.add("result", result)
            if isinstance(result, VideoTask):
                evidence.add("task", result, result.to_dict(), result.raw)
    assert server.requests, "the scenario was not played"
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    evidence.add("reprs", operator, hook, hook.settings, str(hook.settings), hook._transport, vars(hook))
    evidence.add("xcoms", json.dumps(ti.xcoms, ensure_ascii=False))
    evidence.add("record", json.dumps(records.values))
    evidence.add("logs", everything_logged())
    assert evidence.holding(KEY, SIGNATURE) == []

    fields = {field: getattr(operator, field) for field in operator.template_fields}
    evidence.add("rendered fields", json.dumps(fields))
    evidence.add("operator", vars(operator))
    assert evidence.holding(KEY) == []


def test_connection_errors_show_neither_key_nor_proxy_password(
    connect: Any,
    serve: Serve,
    context: dict[str, Any],
    records: Any,
    waits: list[float],
    make_operator: Make,
    everything_logged: Callable[[], str],
    server_tls: ssl.SSLContext,
) -> None:
    untrusted = serve(answering(http_answer(200)), server_tls)
    proxy = serve(answering(http_answer(407, KEY, keep_alive=False)))
    evidence = Evidence()
    for host, extra in (
        ("http://127.0.0.1:1", {}),
        ("https://no-such-host.invalid", {}),
        (untrusted.url, {}),
        ("https://api.example.com", {"proxies": proxy.url.replace("http://", "http://u:proxy-pw@")}),
        ("https://api.example.com", {"proxies": "http://u:proxy-pw@127.0.0.1:1"}),
        ("http://api.example.com", {"proxies": "http://u:proxy-pw@127.0.0.1:1"}),
        ("https://api.example.com", {"proxies": "socks5://u:proxy-pw@127.0.0.1:1"}),
    ):
        hook = connect(host, password=KEY, extra={**extra, "connect_timeout": 2})
        for call in (
            partial(make_operator().execute, context),
            hook.test_connection,
            partial(hook.get_video, "abc"),
            lambda hook=hook: repr(hook._transport),
        ):
            try:
                evidence.add("result", call())
            except Exception as error:
                evidence.add_error(error)
        evidence.add("reprs", hook, hook.settings, vars(hook))
    evidence.add("record", json.dumps(records.values))
    evidence.add("logs", everything_logged())
    assert evidence.holding(KEY, "proxy-pw") == []
    assert untrusted.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"host": f"https://{KEY}@api.example.com"},
        {"host": f"https://api.example.com?key={KEY}"},
        {"host": f"ftp://{KEY}"},
        {"extra": {"submit_timeout": KEY}},
        {"extra": f"no json {KEY}"},
        {"extra": {"verify": f"/{KEY}"}},
        {"password": f"Bearer {KEY}"},
        {"password": f"{KEY}\nX-Other: 1"},
        {"password": f"{KEY}é"},
    ],
)
def test_a_bad_connection_shows_no_key(
    connect: Any, context: dict[str, Any], make_operator: Make, everything_logged: Callable[[], str], fields: Any
) -> None:
    evidence = Evidence()
    hook = connect(**{"password": KEY, **fields})
    for call in (lambda: make_operator().execute(context), hook.test_connection):
        try:
            evidence.add("result", call())
        except Exception as error:
            evidence.add_error(error)
    evidence.add("logs", everything_logged())
    assert evidence.texts
    assert evidence.holding(KEY) == []


def test_a_refused_parameter_shows_no_signature(
    connect: Any, context: dict[str, Any], make_operator: Make, everything_logged: Callable[[], str]
) -> None:
    connect("http://127.0.0.1:1")
    evidence = Evidence()
    for url in (
        f"https://media.example.com/任.mp3?Signature={SIGNATURE}",
        f"http://u:{SIGNATURE}@media.example.com/a.flac",
        f"/data/speech.mp3?{SIGNATURE}",
    ):
        operator = make_operator(audio_url="{{ later }}")
        operator.audio_url = url
        with pytest.raises(Exception, match="audio_url=") as caught:
            operator.execute(context)
        evidence.add_error(caught.value)
    evidence.add("logs", everything_logged())
    assert evidence.holding(SIGNATURE) == []


def test_the_serialized_dag_holds_no_key(connect: Any) -> None:
    from tests.unit.operators.test_create_operator import serialized

    connect("http://127.0.0.1:1", password=KEY)
    with DAG("test", schedule=None) as made:
        CreateDigitalHumanVideoOperator(
            task_id="create", audio_url="https://h.example.com/a.mp3", video_url="https://h.example.com/v.mp4"
        )
    assert KEY not in serialized(made)


def test_the_evidence_would_show_it(everything_logged: Callable[[], str], make_operator: Make) -> None:
    """The search finds what it looks for: in our logs, in those of the libraries, and in a chain of errors."""
    import logging

    make_operator().log.warning("ours: %s", KEY)
    logging.getLogger("urllib3.connectionpool").debug("theirs: %s", KEY)
    logged = everything_logged()
    assert f"ours: {KEY}" in logged
    assert f"theirs: {KEY}" in logged
    evidence = Evidence()
    try:
        try:
            raise ValueError(KEY)
        except ValueError as error:
            raise RuntimeError("no more is said") from error
    except RuntimeError as error:
        evidence.add_error(error)
    assert evidence.holding(KEY) == ["traceback", "error"]
