"""No request makes the sandbox answer with a 500 of its own, or die."""

import json
import string

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_digitalhuman.sandbox.fault_kinds import KINDS, OPERATIONS
from airflow_provider_digitalhuman.sandbox.testing import running_sandbox

NAMES = ("model", "audioUrl", "videoUrl", "modelVersion", "sideFace", "tiltedFace", "other")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("http://127.0.0.1:1/a.mp3"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def target():
    with running_sandbox(processing_seconds=0) as sandbox:
        yield sandbox
        assert sandbox.process.poll() is None


def send(target, method, path, data=None, **headers):
    answer = requests.request(method, target.root_url + path, data=data, headers=headers, timeout=20)
    assert answer.status_code < 500, answer.text
    return answer


def post(target, data):
    return send(
        target,
        "POST",
        "/kyyReactApiServer/v1/digitalHuman/videos",
        data,
        **{"Content-Type": "application/json", "Authorization": "Bearer sandbox-key"},
    )


@QUICK
@given(st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"\xff\xfe\x00")
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"model":' + b"[" * 900 + b"]" * 900 + b"}")
@example(b'{"model":' + b"9" * 5000 + b"}")
@example(b'{"model":NaN,"audioUrl":Infinity}')
@example(b'{"model":"\\ud800","audioUrl":"http://h/\\ud800","videoUrl":"http://[::1/"}')
@example(b'{"model":"m","audioUrl":"http://[","videoUrl":"http://x:99999999/"}')
@example(b"x" * 2_000_000)
def test_any_body(target, data):
    post(target, data)


@QUICK
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(NAMES, JSON),
    )
)
@example({"model": "\ud800", "audioUrl": "http://127.0.0.1:1/", "videoUrl": "http://127.0.0.1:99999/"})
@example({"model": "m", "audioUrl": "http://127.0.0.1:1/%zz", "videoUrl": "http://a b/"})
def test_any_json(target, content):
    answer = post(target, json.dumps(content))
    if "id" in answer.json():
        send(target, "GET", f"/kyyReactApiServer/v1/result/{answer.json()['id']}", Authorization="Bearer sandbox-key")
    ledger = target.ledger()
    assert ledger["accepted"] == sum(entry["outcome"] == "accepted" for entry in ledger["requests"])


@QUICK
@given(
    st.sampled_from(OPERATIONS),
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(
        st.sampled_from(sorted({name for kind in KINDS.values() for name in kind.options} | {"times", "skip", "when"})),
        JSON,
        max_size=3,
    ),
)
@example("create", "custom", {"status": 304, "text": "\ud800"})
@example("query", "error_value", {"value": "\ud800"})
def test_any_fault(target, on, name, options):
    """A definition is refused with a sentence, or the fault can be played."""
    target.reset()
    answer = send(target, "POST", "/sandbox/faults", json.dumps({"on": on, "fault": name, **options}))
    assert answer.status_code in (201, 422)
    if answer.status_code == 422:
        assert len(answer.json()["error"]) > 20
    target.faults()
    if name in ("hang", "slow") or on == "task":
        return
    try:
        requests.get(
            target.base_url + "/v1/result/x",
            headers={"Authorization": "Bearer sandbox-key"},
            timeout=20,
            allow_redirects=False,
        )
    except requests.RequestException:
        assert name in ("reset", "close", "truncated")


@QUICK
@given(st.text(alphabet=string.printable + "ä音\u0000", min_size=1, max_size=30))
@example("%2F..%2F..")
@example("%00")
@example("%ff%fe")
@example("a\\b")
def test_any_id(target, video_task_id):
    url = requests.utils.requote_uri("/kyyReactApiServer/v1/result/" + video_task_id)
    send(target, "GET", url, Authorization="Bearer sandbox-key")


@pytest.mark.parametrize("host", [b"[", b"a b", b"\xff", b"", b"evil.example:80", b"[::1]:80", b'"'])
def test_any_host_header(wire, host):
    task = wire.finished()
    answer = wire.raw(
        b"GET /kyyReactApiServer/v1/result/"
        + task["id"].encode()
        + b" HTTP/1.1\r\nAuthorization: Bearer sandbox-key\r\nConnection: close\r\nHost: "
        + host
        + b"\r\n\r\n"
    )
    assert answer.split(b" ")[1] in (b"200", b"400")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /files/a.mp4 HTTP/1.1\r\nHost: x\r\nRange: bytes=99999999999999999999-\r\nConnection: close\r\n\r\n",
        b"POST /kyyReactApiServer/v1/digitalHuman/videos HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_any_bytes(wire, request_bytes):
    assert wire.raw(request_bytes).split(b" ")[1][:1] == b"4"


def test_its_own_openapi(target):
    target.reset()
    schema = schemathesis.openapi.from_url(target.root_url + "/sandbox/openapi.json")
    seen = set()

    for operation in schema.get_all_operations():

        @given(case=operation.ok().as_strategy())
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def call(case):
            target.clear_faults()
            seen.add(case.path)
            answer = case.call(headers={"Authorization": "Bearer sandbox-key"}, allow_redirects=False)
            assert answer.status_code < 500, answer.text

        call()
    assert len(seen) >= 6
