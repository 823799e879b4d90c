import hashlib
import io
import time

import av
import pytest


def lengths(content):
    with av.open(io.BytesIO(content)) as container:
        return {stream.type: float(stream.duration * stream.time_base) for stream in container.streams}


def picture(source, second):
    """A small grey picture of the video at this time."""
    with av.open(source) as container:
        for frame in container.decode(video=0):
            if frame.time >= second:
                grey = frame.reformat(32, 32, "gray")
                plane = grey.planes[0]
                raw = bytes(plane)
                return b"".join(raw[row * plane.line_size : row * plane.line_size + 32] for row in range(32))
    raise AssertionError("the video is too short")


def difference(one, other):
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def test_a_video_is_made(wire, sandbox):
    answer = wire.create()
    task = answer.json()
    assert answer.status_code == 200
    assert set(task) == {"id", "object", "created", "model", "status", "error"}
    assert (task["object"], task["status"], task["error"]) == ("video", "queued", None)
    assert abs(task["created"] - time.time()) < 30

    done = wire.wait(task["id"])
    assert done["status"] == "completed"
    content = wire.download(done["video_url"]).content
    assert hashlib.md5(content).hexdigest() == done["md5"]
    speech = lengths(wire.download(sandbox.sample_audio_url).content)["audio"]
    made = lengths(content)
    assert made["audio"] == pytest.approx(speech, abs=0.1)
    assert made["video"] == pytest.approx(speech, abs=0.1)
    assert done["actualDuration"] == pytest.approx(speech, abs=0.1)

    clip = wire.download(sandbox.sample_video_url).content
    assert difference(picture(io.BytesIO(content), 1), picture(io.BytesIO(clip), 1)) < 2
    assert difference(picture(io.BytesIO(content), 3.5), picture(io.BytesIO(clip), 0.5)) < 4, "the clip is looped"


def test_it_is_seen_queued_and_processing_first(wire, sandbox):
    sandbox.add_fault(on="task", fault="takes", seconds=2)
    video_task_id = wire.created()
    seen = []
    while "completed" not in seen:
        seen.append(wire.query(video_task_id).json()["status"])
        time.sleep(0.05)
    assert list(dict.fromkeys(seen)) == ["queued", "processing", "completed"]


def test_equal_inputs_give_equal_bytes_and_each_is_charged(wire, sandbox):
    first, second = wire.finished(), wire.finished()
    assert first["id"] != second["id"]
    assert first["md5"] == second["md5"]
    assert sandbox.ledger()["charged"] == 2


@pytest.mark.parametrize(
    ("field", "path", "said"),
    [
        ("audioUrl", "/nothing", "404"),
        ("videoUrl", "/nothing", "404"),
        ("audioUrl", "/sandbox/ledger", "not media"),
        ("videoUrl", "/sandbox/ledger", "not media"),
        ("audioUrl", "/sandbox/media/presenter.mp4", "no audio"),
        ("videoUrl", "/sandbox/media/speech.m4a", "no picture"),
    ],
)
def test_unusable_media_fail_the_task(wire, sandbox, field, path, said):
    task = wire.finished(**{field: sandbox.root_url + path})
    assert task["status"] == "failed"
    assert field in task["error"]
    assert said in task["error"]
    assert "video_url" not in task
    assert sandbox.ledger()["charged"] == 1, "worst case: a failed task is charged too"


def test_an_unreachable_host_fails_the_task(wire):
    task = wire.finished(audioUrl="http://127.0.0.1:1/speech.mp3")
    assert task["status"] == "failed"
    assert "素材 URL 无法访问" in task["error"]


@pytest.mark.parametrize("key", ["Bearer wrong", "sandbox-key", "", None])
def test_a_wrong_key_is_http_200_with_code_204(wire, sandbox, key):
    wire.headers = {} if key is None else {"Authorization": key}
    for answer in (wire.create(), wire.query("x")):
        assert (answer.status_code, answer.json()) == (200, {"code": "204", "msg": "登录验证失败"})
    ledger = sandbox.ledger()
    assert (ledger["posts"], ledger["accepted"]) == (1, 0)
    assert ledger["requests"][0]["outcome"] == "refused"
    assert ledger["requests"][0]["authorized"] is False


@pytest.mark.parametrize("name", ["model", "audioUrl", "videoUrl"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_parameter_is_named(wire, sandbox, name, value):
    body = wire.body()
    del body[name]
    if value is not None:
        body[name] = value
    answer = wire.session.post(wire.create_url, json=body, headers=wire.headers, timeout=20)
    assert answer.json() == {"msg": f"缺少必填参数: {name}"}
    assert sandbox.ledger()["accepted"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"modelVersion": 3},
        {"modelVersion": "2"},
        {"sideFace": True},
        {"tiltedFace": 2},
        {"model": 5},
        {"audioUrl": ["x"]},
    ],
)
def test_a_wrong_parameter_is_refused(wire, sandbox, changes):
    assert wire.create(**changes).json() == {"code": 400, "msg": f"参数错误: {next(iter(changes))}"}
    assert sandbox.ledger()["accepted"] == 0


@pytest.mark.parametrize(
    "url", ["/tmp/speech.wav", "file:///etc/passwd", "ftp://h/a.mp3", "http://h/音.mp3", "http://"]
)
def test_what_is_no_network_url_is_refused(wire, sandbox, url):
    assert wire.create(audioUrl=url).json()["code"] == 1001
    assert sandbox.ledger()["accepted"] == 0


def test_unknown_things(wire, sandbox):
    assert wire.query("nobody").json() == {"code": -1, "data": None}
    answer = wire.session.get(f"{sandbox.base_url}/v1/models", timeout=20)
    assert answer.status_code == 404
    assert answer.json() == {"message": "No handler found for GET /kyyReactApiServer/v1/models"}
    assert wire.session.get(wire.create_url, timeout=20).status_code == 405
    assert wire.session.post(wire.create_url, data="x", headers=wire.headers, timeout=20).status_code == 415
    assert sandbox.ledger()["unknown_paths"] == 1


def test_an_id_must_be_one_encoded_segment(wire, sandbox):
    sandbox.add_fault(on="create", fault="special_id")
    video_task_id = wire.created()
    assert "/" in video_task_id
    assert wire.query(video_task_id).json()["id"] == video_task_id
    bare = wire.session.get(f"{sandbox.base_url}/v1/result/{video_task_id}", headers=wire.headers, timeout=20)
    assert bare.status_code == 404
