"""Every fault, as a plain client sees it on the wire."""

import errno
import json
import random
import time
import zlib

import pytest
import requests
import urllib3

from airflow_provider_digitalhuman.sandbox.fault_kinds import KINDS

ALL = [
    (on, name, when)
    for name, kind in KINDS.items()
    for on in kind.on
    for when in (kind.stages if on == "create" else (None,))
]
QUICK = {"hang": {"seconds": 0.3}, "slow": {"seconds": 0.3}, "takes": {"seconds": 0.5}}
NO_ANSWER = ("reset", "close", "truncated", "cut_off", "wrong_content_length", "broken_with_id")


def switch_on(sandbox, on, name, when=None, **options):
    stage = {} if when is None else {"when": when}
    return sandbox.add_fault(on=on, fault=name, **stage, **QUICK.get(name, {}), **options)


@pytest.mark.parametrize(("on", "name", "when"), ALL)
def test_it_happens_once_and_the_ledger_tells_what_it_cost(wire, sandbox, on, name, when):
    done = wire.finished() if on in ("query", "download") else None
    switch_on(sandbox, on, name, when)
    before = sandbox.ledger()

    def act():
        if on == "query":
            return wire.query(done["id"])
        if on == "download":
            return wire.download(done["video_url"])
        return wire.create()

    if name in NO_ANSWER:
        with pytest.raises(requests.RequestException):
            act()
    else:
        act()
    after = sandbox.ledger()
    assert sandbox.faults()[0]["fired"] == 1
    if on == "create":
        accepted = when == "after" or name == "hang"
        assert after["posts"] - before["posts"] == 1
        assert after["accepted"] - before["accepted"] == accepted
        assert wire.entry()["fault"] == name
        assert wire.entry()["when"] == when
        dropped = name in ("reset", "close", "truncated")
        assert wire.entry()["outcome"] == ("accepted" if accepted else "dropped" if dropped else "refused")
    assert act().status_code == 200
    assert sandbox.faults()[0]["fired"] == 1, "only as often as it was asked for"


@pytest.mark.parametrize("when", ["before", "after"])
def test_reset_is_a_true_reset(wire, sandbox, when):
    switch_on(sandbox, "create", "reset", when)
    with pytest.raises(ConnectionResetError) as raised:
        wire.raw()
    assert raised.value.errno == errno.ECONNRESET
    assert sandbox.ledger()["accepted"] == (when == "after")


def test_close_is_an_orderly_end_without_a_byte(wire, sandbox):
    switch_on(sandbox, "create", "close")
    assert wire.raw() == b""


@pytest.mark.parametrize(("then", "ends"), [("answer", b"}"), ("close", b"")])
def test_hang(wire, sandbox, then, ends):
    sandbox.add_fault(on="create", fault="hang", when="after", seconds=0.5, then=then)
    started = time.monotonic()
    assert wire.raw()[-1:] == ends
    assert time.monotonic() - started >= 0.5
    assert sandbox.ledger()["accepted"] == 1


def test_a_client_that_leaves_during_a_hang_before_acceptance_pays_nothing(wire, sandbox):
    sandbox.add_fault(on="create", fault="hang", when="before")
    with pytest.raises(requests.Timeout):
        wire.session.post(wire.create_url, json=wire.body(), headers=wire.headers, timeout=0.5)
    time.sleep(0.3)
    ledger = sandbox.ledger()
    assert (ledger["posts"], ledger["accepted"]) == (1, 0)
    assert ledger["requests"][0]["outcome"] == "dropped"


def test_a_client_that_leaves_during_a_hang_after_acceptance_pays(wire, sandbox):
    sandbox.add_fault(on="create", fault="hang", when="after")
    with pytest.raises(requests.Timeout):
        wire.session.post(wire.create_url, json=wire.body(), headers=wire.headers, timeout=0.5)
    assert sandbox.ledger()["charged"] == 1


def test_slow_comes_in_pieces_and_whole(wire, sandbox):
    sandbox.add_fault(on="create", fault="slow", seconds=0.6)
    started = time.monotonic()
    assert wire.create().json()["status"] == "queued"
    assert time.monotonic() - started >= 0.6


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", ["html", "empty", "json", "text"])
def test_http_status(wire, sandbox, status, body):
    sandbox.add_fault(on="create", fault="http_status", status=status, body=body, retry_after="7")
    answer = wire.create()
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "7"
    assert (answer.content == b"") == (body == "empty")
    assert answer.text.startswith("<!DOCTYPE html>") == (body == "html")


@pytest.mark.parametrize("status", [404, 500])
def test_spring_pages_have_a_numeric_status(wire, sandbox, status):
    sandbox.add_fault(on="query", fault="spring_error", status=status)
    page = wire.query("x")
    assert page.status_code == page.json()["status"] == status
    assert set(page.json()) == {"timestamp", "status", "error", "path"}


@pytest.mark.parametrize("retry_after", ["3", "Wed, 21 Oct 2026 07:28:00 GMT", None])
def test_rate_limited(wire, sandbox, retry_after):
    sandbox.add_fault(on="create", fault="rate_limited", retry_after=retry_after)
    answer = wire.create()
    assert answer.status_code == 429
    assert answer.headers.get("retry-after") == retry_after


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("on", ["create", "query"])
def test_redirects_lead_elsewhere(wire, sandbox, on, status):
    sandbox.add_fault(on=on, fault="redirect", status=status)
    answer = wire.create() if on == "create" else wire.query("x")
    assert (answer.status_code, answer.headers["location"]) == (status, "/sandbox/elsewhere")
    wire.session.get(sandbox.root_url + answer.headers["location"], headers=wire.headers, timeout=20)
    ledger = sandbox.ledger()
    assert (ledger["elsewhere"], ledger["key_leaked_elsewhere"]) == (1, 1)


def test_a_redirected_download_arrives(wire, sandbox):
    done = wire.finished()
    sandbox.add_fault(on="download", fault="redirect", status=307)
    answer = requests.get(done["video_url"], timeout=20)
    assert [step.status_code for step in answer.history] == [307]
    assert answer.headers["etag"] == f'"{done["md5"]}"'


def test_truncated_announces_more_than_it_sends(wire, sandbox):
    switch_on(sandbox, "create", "truncated", "after")
    head, _, body = wire.raw().partition(b"\r\n\r\n")
    announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < announced


@pytest.mark.parametrize(
    ("name", "status", "content"),
    [
        ("login_failed", 200, {"code": "204", "msg": "登录验证失败"}),
        ("no_balance", 200, {"code": 1002, "msg": "余额不足，请充值", "data": None}),
        ("payment_required", 402, {"code": 402, "msg": "余额不足，请充值"}),
        ("error_code", 200, {"code": 500, "msg": "系统繁忙，请稍后再试", "data": None}),
        ("json_array", 200, ["queued"]),
    ],
)
def test_refusals(wire, sandbox, name, status, content):
    sandbox.add_fault(on="create", fault=name)
    answer = wire.create()
    assert (answer.status_code, answer.json()) == (status, content)


def test_shapes_of_a_create(wire, sandbox):
    sandbox.add_fault(on="create", fault="envelope", code="200", msg="成功")
    envelope = wire.create().json()
    assert (envelope["code"], envelope["msg"], envelope["data"]["status"]) == ("200", "成功", "queued")
    sandbox.add_fault(on="create", fault="with_code", code="0")
    assert wire.create().json()["code"] == "0"
    sandbox.add_fault(on="create", fault="created_in_ms")
    assert wire.create().json()["created"] > 1e12
    sandbox.add_fault(on="create", fault="other_model")
    assert wire.create().json()["model"] != "kyy_digitalHuman"
    sandbox.add_fault(on="create", fault="no_id", when="after")
    assert "id" not in wire.create().json()
    sandbox.add_fault(on="create", fault="failed_at_once", error="policy rejected")
    failed = wire.create().json()
    assert (failed["status"], failed["error"]) == ("failed", "policy rejected")
    assert wire.query(failed["id"]).json()["status"] == "failed"
    assert sandbox.ledger()["charged"] == 6


def test_create_names_task_under_another_name(wire, sandbox):
    sandbox.add_fault(on="create", fault="other_id_name", when="after", field="videoId", status=429, code=429)
    answer = wire.create()
    (task,) = sandbox.ledger()["tasks"]
    assert answer.status_code == 429
    assert answer.json() == {"code": 429, "msg": "success", "data": {"videoId": task["id"]}}
    sandbox.add_fault(on="create", fault="other_id_name")
    refused = wire.create()
    assert (refused.status_code, refused.json()["code"], len(refused.json()["data"]["taskId"]) > 1) == (200, 1, True)
    assert sandbox.ledger()["charged"] == 1


def test_create_breaks_off_with_id(wire, sandbox):
    for how in ("length", "gzip", "http_500"):
        sandbox.add_fault(on="create", fault="broken_with_id", how=how)
        head, _, body = wire.raw().partition(b"\r\n\r\n")
        task_id = sandbox.ledger()["tasks"][-1]["id"].encode()
        announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert head.split()[1] == (b"500" if how == "http_500" else b"200")
        assert (announced > len(body)) == (how != "http_500")
        plain = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body) if how == "gzip" else body
        assert plain.index(task_id) > 400


def test_shapes_of_a_query(wire, sandbox):
    done = wire.finished()

    def seen(fault, **options):
        sandbox.add_fault(on="query", fault=fault, **options)
        return wire.query(done["id"]).json()

    assert seen("unknown_id") == {"code": -1, "data": None}
    assert seen("status_word", word="RENDERING")["status"] == "RENDERING"
    assert seen("completed_without_url")["video_url"] is None
    assert seen("url_field", field="videoUrl")["videoUrl"] == done["video_url"]
    assert "video_url" not in seen("url_field", field="result_url")
    other = seen("another_task", word="failed")
    assert (other["id"], other["status"]) == ("another-task", "failed")
    sent = sandbox.ledger()["tasks"][-1]["body"]
    repeated = seen("repeats_request")
    assert (repeated["videoUrl"], repeated["audioUrl"]) == (sent["videoUrl"], sent["audioUrl"])
    assert "video_url" not in repeated
    as_result = seen("repeats_request", field="video_url")
    assert (as_result["video_url"], "audioUrl" in as_result) == (sent["videoUrl"], False)
    for value in ("", None, "text", {"code": "x", "message": "y", "type": "z"}):
        assert seen("error_value", value=value)["error"] == value
    assert "md5" not in seen("md5", form="missing")
    assert seen("md5", form="uppercase")["md5"] == done["md5"].upper()
    assert seen("md5", form="wrong")["md5"] != done["md5"]
    assert seen("md5", form="malformed")["md5"] == "not-an-md5"
    assert seen("envelope")["data"] == done
    expired = seen("expired_url")["video_url"]
    assert wire.download(expired).status_code == 403
    assert wire.query(done["id"]).json() == done, "nothing of it stays"


def test_faults_of_completed_tasks_wait_for_the_end(wire, sandbox):
    sandbox.add_fault(on="query", fault="completed_without_url", times=2)
    sandbox.add_fault(on="task", fault="takes", seconds=0.5)
    video_task_id = wire.created()
    assert wire.query(video_task_id).json()["status"] in ("queued", "processing")
    assert wire.wait(video_task_id)["video_url"] is None
    assert wire.query(video_task_id).json()["video_url"] is None
    assert wire.query(video_task_id).json()["video_url"] is not None


def test_tasks(wire, sandbox):
    sandbox.add_fault(on="task", fault="never_finishes")
    endless = wire.created()
    for word in ("failed", "cancelled", "expired"):
        sandbox.add_fault(on="task", fault="fails", word=word, error="风控拒绝")
        task = wire.finished()
        assert (task["status"], task["error"]) == (word, "风控拒绝")
    time.sleep(0.5)
    assert wire.query(endless).json()["status"] == "processing"
    assert sandbox.ledger()["charged"] == 4


def test_downloads(wire, sandbox):
    done = wire.finished()
    whole = wire.download(done["video_url"]).content

    def get(fault, **options):
        sandbox.add_fault(on="download", fault=fault, **options)
        return wire.download(done["video_url"])

    wrong = get("wrong_bytes").content
    assert len(wrong) == len(whole)
    assert wrong != whole
    assert get("html_page").headers["content-type"].startswith("text/html")
    assert get("http_status", status=410).status_code == 410
    chunked = get("no_content_length")
    assert "content-length" not in chunked.headers
    assert chunked.content == whole
    sandbox.add_fault(on="download", fault="no_range")
    assert wire.download(done["video_url"], Range="bytes=0-9").content == whole
    shorter = get("wrong_content_length", delta=-10)
    assert shorter.content == whole[:-10]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_cut_off_after_so_many_bytes(wire, sandbox, how):
    done = wire.finished()
    sandbox.add_fault(on="download", fault="cut_off", bytes=1000, how=how)
    received = b""
    with requests.get(done["video_url"], stream=True, timeout=20) as answer:
        ended = None
        while ended is None:
            try:
                received += answer.raw.read(100)
            except urllib3.exceptions.HTTPError as error:
                ended = error
    assert ("reset" in str(ended)) == (how == "reset")
    assert len(received) <= 1000
    if how == "close":
        assert len(received) == 1000


def test_custom(wire, sandbox):
    sandbox.add_fault(on="create", fault="custom", status=418, text='{"a":1}', content_type="text/plain")
    answer = wire.create()
    assert (answer.status_code, answer.json()) == (418, {"a": 1})
    sandbox.add_fault(on="create", fault="custom", status=204)
    assert wire.create().content == b""


def test_match_skip_times_and_order(wire, sandbox):
    sandbox.add_fault(on="create", fault="http_status", status=503, match="marked", skip=1, times=2)
    sandbox.add_fault(on="create", fault="http_status", status=422, match="marked", times=None)
    plain = [wire.create().status_code for _ in range(2)]
    marked = [wire.create(model="marked").status_code for _ in range(5)]
    assert plain == [200, 200]
    assert marked == [422, 503, 503, 422, 422], "the first fault that fits is played"
    assert sandbox.ledger()["posts"] == 7
    sandbox.clear_faults()
    assert wire.create(model="marked").status_code == 200


def test_match_on_one_task(wire, sandbox):
    one, other = wire.created(), wire.created()
    sandbox.add_fault(on="query", fault="unknown_id", match=one, times=None)
    assert "code" in wire.query(one).json()
    assert wire.query(other).json()["id"] == other


def test_probability_with_a_seed_repeats(wire, sandbox):
    def played():
        sandbox.clear_faults()
        sandbox.add_fault(on="query", fault="http_status", times=None, probability=0.5, seed=7)
        return [wire.query("x").status_code == 500 for _ in range(30)]

    expected = random.Random(7)
    assert played() == played() == [expected.random() < 0.5 for _ in range(30)]


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"on": "create", "fault": "nonsense"}, ["fault is 'nonsense'", "'reset'"]),
        ({"on": "nowhere", "fault": "reset"}, ["on is 'nowhere'", "'download'"]),
        ({"fault": "reset"}, ["on is None"]),
        ({"on": "query", "fault": "no_balance"}, ["fault is 'no_balance'", "on='query'"]),
        ({"on": "create", "fault": "envelope", "when": "before"}, ["when is 'before'", "'after'"]),
        ({"on": "query", "fault": "reset", "when": "after"}, ["'when' is not a field"]),
        ({"on": "create", "fault": "reset", "time": 1}, ["'time' is not a field", "times"]),
        ({"on": "create", "fault": "reset", "times": 0}, ["times is 0", "null for ever"]),
        ({"on": "create", "fault": "reset", "times": True}, ["times is True"]),
        ({"on": "create", "fault": "reset", "probability": 1.5}, ["probability is 1.5", "0 to 1"]),
        ({"on": "create", "fault": "hang", "seconds": -1}, ["seconds is -1"]),
        ({"on": "create", "fault": "hang", "seconds": 10**400}, ["seconds is 1000", "0 to 86,400"]),
        ({"on": "create", "fault": "http_status", "status": 200}, ["status is 200", "400 to 599"]),
        ({"on": "create", "fault": "rate_limited", "retry_after": "1\r\nx: y"}, ["retry_after is"]),
        ({"on": "create", "fault": "rate_limited", "retry_after": 3}, ["retry_after is 3", "text"]),
        ([], ["JSON object"]),
        (None, ["JSON object"]),
    ],
)
def test_a_wrong_definition_is_explained(wire, sandbox, definition, words):
    answer = wire.session.post(sandbox.root_url + "/sandbox/faults", data=json.dumps(definition), timeout=20)
    assert answer.status_code == 422
    for word in words:
        assert word in answer.json()["error"]
    assert sandbox.faults() == []


def test_the_client_raises_what_the_server_explains(sandbox):
    with pytest.raises(ValueError, match="fault is 'nonsense'"):
        sandbox.add_fault(on="create", fault="nonsense")
