"""A server that answers as each peer's API does, fast, and counts; run with ``python -m tests.bench.stub``.

It is steered over a second port, one JSON object a line, so that the steering is not among what it counts.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from typing import Any, Final

_NUMBER: Final = re.compile(rb"(\d+)/?(?:\?|$)")
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_REASONS: Final = {200: "OK", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}


class Videos:
    """Which videos are done when, and what has been asked."""

    def __init__(self) -> None:
        self.latency = 0.05
        self.reset()

    def reset(self) -> dict[str, Any]:
        """Forget everything."""
        self.storm: int | None = None
        self.seconds = 10.0
        self.finish_at, self.finish_over, self.count = float("inf"), 0.0, 1
        self.created: dict[int, float] = {}
        self.seen_done: dict[int, float] = {}
        self.asked: dict[int, int] = {}
        self.connections = self.requests = self.posts = 0
        return {}

    def do(self, what: str, **how: Any) -> dict[str, Any]:
        """Carry out a line of the steering."""
        if what == "set":
            vars(self).update(how)
        elif what == "reset":
            self.reset()
        elif what == "delays":
            return {"delays": [at - self.done_at(number) for number, at in self.seen_done.items()]}
        return {
            "connections": self.connections,
            "requests": self.requests,
            "posts": self.posts,
            "least_asked": min(self.asked.values(), default=0),
            "videos_asked": len(self.asked),
        }

    def done_at(self, number: int) -> float:
        """When a video is done: so long after its create, or at its turn in the row of all of them."""
        if number in self.created:
            return self.created[number] + self.seconds
        return self.finish_at + number * self.finish_over / self.count

    def create(self) -> tuple[int, Any]:
        """Accept a video."""
        self.posts += 1
        self.created[self.posts] = time.time()
        return 200, {"id": str(self.posts), "status": "queued", "created": int(time.time())}

    def answer(self, path: bytes) -> tuple[int, Any]:
        """Answer a query."""
        self.requests += 1
        found = _NUMBER.search(path)
        if found is None:
            return 404, {}
        number = int(found[1])
        self.asked[number] = self.asked.get(number, 0) + 1
        if self.storm:
            return self.storm, {"error": {"message": "not now"}}
        done = time.time() >= self.done_at(number)
        if done:
            self.seen_done.setdefault(number, time.time())
        if b"/wait/" in path:
            return (200 if done else 404), {"status": "done" if done else "not yet"}
        if b"/batches/" in path:
            return 200, _openai_batch(number, "completed" if done else "in_progress")
        if b"/runs/" in path:
            return 200, {"data": {"id": number, "status": 10 if done else 3}, "status": {"code": 200}}
        return 200, _video(number, done)


def _video(number: int, done: bool) -> dict[str, Any]:
    task = {"id": str(number), "status": "completed" if done else "processing", "model": "kyy_digitalHuman"}
    made = {"video_url": f"https://videos.example.com/{number}.mp4?sign=x", "md5": "0" * 32}
    return task | made if done else task


def _openai_batch(number: int, status: str) -> dict[str, Any]:
    return {
        "id": f"batch_{number}",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file_1",
        "completion_window": "24h",
        "status": status,
        "created_at": 1,
    }


class _Connection(asyncio.Protocol):
    def __init__(self, videos: Videos) -> None:
        self._videos = videos
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._videos.connections += 1

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end]
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            if len(self._read) < end + 4 + length:
                return
            self._read = self._read[end + 4 + length :]
            asyncio.get_running_loop().call_later(self._videos.latency, self._answer, head.split(b" ", 2))

    def _answer(self, words: list[bytes]) -> None:
        if self._transport.is_closing():
            return
        status, content = self._videos.create() if words[0] == b"POST" else self._videos.answer(words[1])
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._transport.write(head.encode() + b"\r\n\r\n" + body)


async def _serve(certificate: str | None = None, key: str | None = None) -> None:
    videos, loop, context = Videos(), asyncio.get_running_loop(), None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    async def steer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(videos.do(**json.loads(line))).encode() + b"\n")

    server = await loop.create_server(lambda: _Connection(videos), "127.0.0.1", 0, ssl=context, backlog=4096)
    steering = await asyncio.start_server(steer, "127.0.0.1", 0)
    print(*(one.sockets[0].getsockname()[1] for one in (server, steering)), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it goes


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
