"""Worker and triggerer are fed the same answers to a query, as real systems send them, and make the same of them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection.query_client import QueryClient
from airflow_provider_digitalhuman.exceptions import AuthenticationError, DigitalHumanError, naming_connection
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.waiting.decision import query_outcome
from tests.support.raw_server import RawServer, answering, http_answer
from tests.unit.conftest import KEY

ID = "abc"
FAILED = {"id": ID, "status": "failed", "error": "一"}
"""Its bytes in GBK are valid UTF-8 as well: only the header tells."""
URL = "https://cdn.example.com/abc.mp4"
HEX = "0cc175b9c0f1b6a831c399e269772661"


def text(content: Any, status: int = 200, charset: str = "utf-8", **headers: str) -> bytes:
    body = json.dumps(content, ensure_ascii=False).encode(charset)
    return http_answer(status, body, content_type=f"application/json; charset={charset}", **headers)


def unannounced(content: Any) -> bytes:
    return http_answer(200, json.dumps(content, ensure_ascii=False).encode("gbk"))


def completed(**more: Any) -> bytes:
    return text({"id": ID, "status": "completed", "video_url": URL, **more})


ANSWERS = {
    "error of 100 kB": text({"id": ID, "status": "failed", "error": "x" * 100_000}),
    "other field of 90 kB": completed(notes="x" * 90_000),
    "more than is read": completed(notes="x" * 5_000_000),
    "GBK": text(FAILED, charset="gbk"),
    "GBK, not announced": unannounced({**FAILED, "error": "风控拒绝"}),
    "refused key in GBK": text({"code": "204", "msg": "登录验证失败"}, charset="gbk"),
    "MD5 in quotes": completed(md5=f'"{HEX}"'),
    "MD5 behind its name": completed(md5=f"md5:{HEX}"),
    "MD5 in base64": completed(md5="DMF1ucDxtqgxw5niaXcmYQ=="),
    "429 with a pause of ten years": text({}, 429, retry_after="315360000"),
    "503 with a pause of ten years": text({}, 503, retry_after="315360000"),
    "unknown ID": text({"code": -1, "data": None}),
    "another task": text({**FAILED, "id": "other"}),
    "an error page of Spring": text({"status": 500, "error": "Internal Server Error", "path": "/v1"}, 500),
    "HTML": http_answer(200, "<html>login</html>", content_type="text/html"),
    "empty": http_answer(200),
    "redirect": text({}, 302, location="https://login.example.com/?token=s3cr3t"),
    "echoed key": text({"id": ID, "status": "failed", "md5": KEY, "error": {"code": KEY, "message": f"bad {KEY}"}}),
}


def seen(outcome: VideoTask | DigitalHumanError) -> tuple[Any, ...]:
    if isinstance(outcome, VideoTask):
        return ("a task", outcome.to_dict())
    # Each client has its own words for what its library raised.
    return (type(outcome), str(outcome).partition("brought no answer:")[0], getattr(outcome, "retry_after", None))


@pytest.mark.parametrize("name", ANSWERS)
def test_triggerer_makes_of_answer_what_worker_does(
    connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer], name: str
) -> None:
    hook = connect(serve(answering(ANSWERS[name])).url)

    async def asked_by_triggerer() -> VideoTask | DigitalHumanError:
        client = await QueryClient.open(hook.settings)
        try:
            return await client.query_video(ID)
        except DigitalHumanError as error:
            return error
        finally:
            await client.close()

    of_worker = query_outcome(lambda: hook.query_video(ID))
    of_triggerer = asyncio.run(asked_by_triggerer())
    if isinstance(of_triggerer, AuthenticationError):  # the triggerer's poller does that
        of_triggerer = naming_connection(of_triggerer, hook.digitalhuman_conn_id)
    assert seen(of_triggerer) == seen(of_worker)
    assert KEY not in str(seen(of_worker))
    if name == "GBK":
        assert of_worker.error == FAILED["error"]
