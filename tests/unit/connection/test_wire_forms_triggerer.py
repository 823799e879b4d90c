"""The forms of an answer that the triggerer's client reads: the same bytes as the worker's."""

import asyncio
from collections.abc import Callable

import pytest

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection.query_client import QueryClient
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.exceptions import QueryError
from tests.support.raw_server import Peer, RawServer
from tests.support.wire_forms import COMPLETED, FORMS, TASK_ID, WireForm
from tests.unit.conftest import KEY


async def _queried(url: str, query_timeout: float) -> VideoTask:
    settings = ConnectionSettings(api_key=KEY, base_url=url, query_timeout=query_timeout, connect_timeout=query_timeout)
    client = await QueryClient.open(settings)
    try:
        return await client.query_video(TASK_ID)
    finally:
        await client.close()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_triggerer_reads_form(serve: Callable[..., RawServer], form: WireForm) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(form.sent)
        if not form.closes:
            peer.hang()

    asked = _queried(serve(script).url, 30.0 if form.triggerer else 0.5)
    if form.triggerer:
        task = asyncio.run(asked)
        assert (task.status, task.video_url, task.md5) == ("completed", COMPLETED["video_url"], COMPLETED["md5"])
    else:
        with pytest.raises(QueryError):
            asyncio.run(asked)
