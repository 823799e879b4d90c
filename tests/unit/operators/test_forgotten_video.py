"""An ID that the API does not know for a while: whatever people clear meanwhile, one POST."""

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_digitalhuman.ledger.stores import MemoryRecordStore
from airflow_provider_digitalhuman.operators import run as run_module
from airflow_provider_digitalhuman.waiting import decision as waiting
from tests.support.raw_server import Peer, http_answer

TASK = {"id": "v1", "object": "video", "created": 1761635478, "model": "m", "error": None}
UNKNOWN = http_answer(404, json.dumps({"message": "No handler found for GET /v1/result/v1"}))


class LastingStore(MemoryRecordStore):
    outlasts_try = True


def test_a_clear_during_an_outage_goes_on_with_the_same_video(connect, serve, context, ti, make_operator, monkeypatch):
    there = False

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            if request.method == "POST":
                peer.send(http_answer(200, json.dumps({**TASK, "status": "queued"})))
            elif there:
                done = {**TASK, "status": "completed", "video_url": "https://cdn.example.com/x.mp4"}
                peer.send(http_answer(200, json.dumps(done)))
            else:
                peer.send(UNKNOWN)

    server = serve(script)
    connect(server.url)
    store = LastingStore()
    monkeypatch.setattr(run_module, "store_for", lambda *_: store)
    monkeypatch.setattr(waiting, "NOT_FOUND_GRACE", 0.0)

    def run() -> Any:
        media = {"audio_url": f"{server.url}/a.mp3", "video_url": f"{server.url}/v.mp4"}
        return make_operator(**media, wait_for_completion=True, poll_interval=0.01).execute(context)

    for max_tries in (0, 1):  # the first try, and one after a clear
        ti.max_tries = max_tries
        with pytest.raises(AirflowFailException, match="v1"):
            run()
    there = True
    ti.max_tries = 2
    assert run() == "v1"
    assert server.posts == 1
