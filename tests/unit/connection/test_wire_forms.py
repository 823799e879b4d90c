"""The forms of an answer that the worker reads; the triggerer's client is fed the same bytes in its own test."""

from collections.abc import Callable

import pytest

from airflow_provider_digitalhuman.exceptions import QueryError
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from tests.support.raw_server import Peer, RawServer
from tests.support.wire_forms import COMPLETED, FORMS, TASK_ID, WireForm


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_worker_reads_form(
    connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer], form: WireForm
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(form.sent)
        if not form.closes:
            peer.hang()

    server = serve(script)
    hook = connect(server.url, extra={"query_timeout": 30 if form.worker else 0.5})
    if form.worker:
        task = hook.query_video(TASK_ID)
        assert (task.status, task.video_url, task.md5) == ("completed", COMPLETED["video_url"], COMPLETED["md5"])
    else:
        with pytest.raises(QueryError):
            hook.query_video(TASK_ID)
    assert len(server.requests) == 1
