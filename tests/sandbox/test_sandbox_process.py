"""The command, its process, its state folder, its ledger."""

import ast
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

import airflow_provider_digitalhuman.sandbox
from airflow_provider_digitalhuman.sandbox.testing import SandboxClient, running_sandbox

COMMAND = [sys.executable, "-m", "airflow_provider_digitalhuman.sandbox"]
PACKAGE = Path(airflow_provider_digitalhuman.sandbox.__file__).parent


def test_the_ledger_counts(wire, sandbox):
    before = sandbox.ledger()
    wire.finished()
    wire.create(model=None)
    wire.query("x")
    after = sandbox.ledger()
    assert (after["posts"], after["accepted"], after["charged"]) == (2, 1, 1)
    assert [entry["outcome"] for entry in after["requests"]] == ["accepted", "refused"]
    assert after["requests"][0]["video_task_id"] == after["tasks"][0]["id"]
    assert after["requests"][0]["body"] == after["tasks"][0]["body"] == wire.body()
    assert after["queries"] >= 2
    assert after["api_connections"] - before["api_connections"] == 1, "one kept-alive connection"
    assert after["connections"] > after["api_connections"]
    sandbox.reset()
    empty = sandbox.ledger()
    assert (empty["posts"], empty["accepted"], empty["queries"], empty["tasks"]) == (0, 0, 0, [])


def test_a_broken_off_body_is_a_dropped_post(wire, sandbox):
    host, port = sandbox.root_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(
            b"POST /kyyReactApiServer/v1/digitalHuman/videos HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        )
        time.sleep(0.2)
    deadline = time.monotonic() + 10
    while not sandbox.ledger()["requests"]:
        assert time.monotonic() < deadline
    assert wire.entry()["outcome"] == "dropped"


def test_tasks_survive_a_kill(tmp_path, wire_to):
    with running_sandbox(state_dir=tmp_path, processing_seconds=0) as first:
        wire = wire_to(first)
        done = wire.finished()
        first.add_fault(on="task", fault="takes", seconds=1)
        running = wire.created()
        first.process.kill()
        first.process.wait(10)
    with running_sandbox(
        state_dir=tmp_path, processing_seconds=0, port=int(first.root_url.rpartition(":")[2])
    ) as again:
        wire = wire_to(again)
        assert wire.query(done["id"]).json() == done
        assert wire.download(done["video_url"]).status_code == 200
        assert wire.wait(running)["status"] == "completed"
        ledger = again.ledger()
        assert (ledger["posts"], ledger["accepted"]) == (2, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_spite_of_hanging_requests(number, tmp_path, wire_to):
    with running_sandbox() as sandbox:
        wire = wire_to(sandbox)
        sandbox.add_fault(on="create", fault="hang", when="after")
        answered = []

        def hang():
            try:
                answered.append(wire.create())
            except requests.RequestException as error:
                answered.append(error)

        client = threading.Thread(target=hang)
        client.start()
        deadline = time.monotonic() + 10
        while sandbox.ledger()["accepted"] == 0:
            assert time.monotonic() < deadline
        started = time.monotonic()
        sandbox.process.send_signal(number)
        assert sandbox.process.wait(10) == 0
        assert time.monotonic() - started < 5
        client.join(10)
        assert isinstance(answered[0], requests.ConnectionError)


def test_the_temporary_folder_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running_sandbox() as sandbox:
        assert [path.name[:20] for path in tmp_path.glob("digitalhuman-*")] == ["digitalhuman-sandbox"]
        assert sandbox.ledger()["posts"] == 0
    assert list(tmp_path.glob("digitalhuman-*")) == []


def test_the_first_line_says_where_it_listens():
    process = subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, text=True)
    impatience = threading.Timer(60, process.kill)
    impatience.start()
    try:
        line = process.stdout.readline()
        assert line.startswith("DigitalHuman sandbox listening on http://127.0.0.1:")
        assert line.endswith("/kyyReactApiServer\n")
        assert SandboxClient(line.split()[-1]).ledger()["posts"] == 0
    finally:
        impatience.cancel()
        process.terminate()
        rest, _ = process.communicate(timeout=10)
    assert rest == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "99999"], "99999 is not a port"),
        (["--port", "x"], "invalid"),
        (["--processing-seconds", "-1"], "-1 is not a number of seconds"),
        (["--processing-seconds", "nan"], "nan is not a number of seconds"),
        (["--ssl-keyfile", "key.pem"], "needs --ssl-certfile"),
        (["--nonsense"], "unrecognized"),
        (["--host", "192.0.2.1"], "Cannot listen on 192.0.2.1"),
        (["--ssl-certfile", "no-such-file.pem"], "The sandbox cannot start"),
        (["--state-dir", __file__], "The sandbox cannot start"),
    ],
)
def test_bad_arguments_end_with_a_sentence(arguments, said):
    ended = subprocess.run([*COMMAND, "--port", "0", *arguments], capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_said(sandbox):
    with (
        pytest.raises(RuntimeError, match="Cannot listen on"),
        running_sandbox(port=int(sandbox.root_url.rpartition(":")[2])),
    ):
        pass


@pytest.mark.parametrize("missing", ["av", "fastapi", "uvicorn"])
def test_a_missing_extra_is_said(missing):
    code = (
        "import sys; sys.modules[%r] = None; from airflow_provider_digitalhuman.sandbox.__main__ import main; "
        "sys.exit(main(['--port', '0']))"
    )
    ended = subprocess.run([sys.executable, "-c", code % missing], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert 'pip install "airflow-provider-digitalhuman[sandbox]"' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_https(tmp_path, wire_to):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    with running_sandbox(ssl_certfile=certificate, ssl_keyfile=key, processing_seconds=0) as sandbox:
        wire = wire_to(sandbox)
        wire.session.verify = str(certificate)
        done = wire.finished()
        assert done["video_url"].startswith("https://")
        assert wire.download(done["video_url"]).status_code == 200
        sandbox.add_fault(on="create", fault="reset", when="after")
        with pytest.raises(requests.ConnectionError):
            wire.create()
        assert sandbox.ledger()["posts"] == 2


def test_nothing_of_airflow_is_imported():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.split(".")[0] != "airflow", path
                if name.startswith("airflow_provider_digitalhuman."):
                    assert name.split(".")[1] in ("api", "sandbox"), path
