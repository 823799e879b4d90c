import json
import socket
import time
from urllib.parse import quote, urlsplit

import pytest
import requests

from airflow_provider_digitalhuman.sandbox.testing import running_sandbox


class Wire:
    """A plain client of the API, without any of the provider's own code."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.headers = {"Authorization": f"Bearer {sandbox.api_key}"}
        self.create_url = f"{sandbox.base_url}/v1/digitalHuman/videos"

    def body(self, **changes):
        content = {
            "model": "kyy_digitalHuman",
            "audioUrl": self.sandbox.sample_audio_url,
            "videoUrl": self.sandbox.sample_video_url,
            "modelVersion": 2,
        } | changes
        return {key: value for key, value in content.items() if value is not None}

    def create(self, **changes):
        return self.session.post(
            self.create_url, json=self.body(**changes), headers=self.headers, timeout=20, allow_redirects=False
        )

    def created(self, **changes):
        return self.create(**changes).json()["id"]

    def result_url(self, video_task_id):
        return f"{self.sandbox.base_url}/v1/result/{quote(video_task_id, safe='')}"

    def query(self, video_task_id):
        return self.session.get(self.result_url(video_task_id), headers=self.headers, timeout=20, allow_redirects=False)

    def wait(self, video_task_id):
        """The task when it has ended."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            task = self.query(video_task_id).json()
            if task["status"] not in ("queued", "processing"):
                return task
            time.sleep(0.05)
        raise AssertionError(f"still {task}")

    def finished(self, **changes):
        return self.wait(self.created(**changes))

    def download(self, url, **headers):
        return self.session.get(url, headers=headers, timeout=20, allow_redirects=False)

    def entry(self):
        """The last create request in the ledger."""
        return self.sandbox.ledger()["requests"][-1]

    def raw(self, request=None, timeout=20.0):
        """Bytes that come back for these bytes, until the server ends the connection."""
        if request is None:
            content = json.dumps(self.body()).encode()
            request = (
                b"POST /kyyReactApiServer/v1/digitalHuman/videos HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                + f"Authorization: Bearer {self.sandbox.api_key}\r\nContent-Type: application/json\r\n".encode()
                + f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
                + content
            )
        parts = urlsplit(self.sandbox.root_url)
        received = b""
        with socket.create_connection((parts.hostname, parts.port), timeout) as connection:
            connection.sendall(request)
            while piece := connection.recv(65536):
                received += piece
        return received


@pytest.fixture(scope="session")
def server():
    with running_sandbox(processing_seconds=0.1) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server):
    server.reset()
    yield server
    assert server.process.poll() is None, "the sandbox has died"


@pytest.fixture
def wire(sandbox):
    return Wire(sandbox)


@pytest.fixture
def wire_to():
    return Wire
