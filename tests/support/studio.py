"""A server that makes videos: takes creates, answers queries as it is set to, and gives the file out."""

import json
from typing import Any

from tests.support.raw_server import Peer, RawServer, Request, http_answer

FILE = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8
TASK = {"object": "video", "created": 1761635478, "model": "kyy_digitalHuman", "error": None}


class Studio(RawServer):
    """Its videos are v1, v2, …

    :ivar status: of every video, when it is asked for.
    :ivar query_status: HTTP status of the answers to queries.
    :ivar file_status: HTTP status where the finished video lies.
    :ivar media_status: HTTP status where the speech and the clip lie.
    """

    def __init__(self) -> None:
        self.status, self.error = "completed", None
        self.query_status = self.file_status = self.media_status = 200
        super().__init__(self._play)

    @property
    def media(self) -> dict[str, str]:
        return {"audio_url": f"{self.url}/in/a.mp3", "video_url": f"{self.url}/in/v.mp4"}

    def gets(self, part: str) -> int:
        return sum(request.method == "GET" and part in request.target for request in self.requests)

    def _play(self, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            peer.send(self._answer(request))

    def _answer(self, request: Request) -> bytes:
        if request.method == "POST":
            return http_answer(200, json.dumps({**TASK, "id": f"v{self.posts}", "status": "queued"}))
        if request.target.startswith("/in/"):
            return http_answer(self.media_status, b"ID3", content_type="audio/mpeg")
        if request.target.startswith("/out.mp4"):
            return http_answer(self.file_status, FILE, content_type="video/mp4")
        if self.query_status != 200:
            return http_answer(self.query_status, "<html>", content_type="text/html")
        answer: dict[str, Any] = {**TASK, "id": request.target.rpartition("/")[2], "status": self.status}
        if self.status == "completed":
            answer |= {"video_url": f"{self.url}/out.mp4?sign=x", "amount": 1.5}
        return http_answer(200, json.dumps({**answer, "error": self.error}, ensure_ascii=False))
