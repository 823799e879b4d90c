"""The table of request fields: a field that is added to it is known everywhere that money depends on it.

The field ``background_url`` stands for any medium that the vendor may come to take.
"""

import inspect
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import airflow_provider_digitalhuman.operators.run  # noqa: F401  # before a test replaces VideoRequest
from airflow_provider_digitalhuman.api.endpoints import DEFAULT_BASE_URL
from airflow_provider_digitalhuman.api.request import VideoRequest, check_url, row
from airflow_provider_digitalhuman.archive.media_check import check_media
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import InvalidRequestError
from airflow_provider_digitalhuman.ledger.fingerprint import fingerprint, legacy_fingerprint, media_fingerprint
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from tests.support.file_server import serving, status
from tests.support.studio import Studio

AUDIO = "https://media.example.com/speech.mp3"
VIDEO = "https://media.example.com/person.mp4"
BACKGROUND = "https://media.example.com/beach.jpg"
BASE = "https://api.example.com"
SIGNED = "?X-Amz-Signature=topsecret"


@dataclass(frozen=True, slots=True, repr=False)
class LargerRequest(VideoRequest):
    background_url: str | None = field(
        default=None,
        metadata=row(
            "backgroundUrl", lambda name, value: None if value is None else check_url(name, value), is_media=True
        ),
    )


class LargerOperator(CreateDigitalHumanVideoOperator):
    template_fields = (*CreateDigitalHumanVideoOperator.template_fields, "background_url")

    def __init__(self, *, background_url: str | None = None, **kwargs: Any) -> None:
        self.background_url = background_url
        super().__init__(**kwargs)


def request(background: str | None = BACKGROUND) -> LargerRequest:
    return LargerRequest(AUDIO, VIDEO, background_url=background)


@pytest.fixture
def _larger(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("airflow_provider_digitalhuman") and getattr(module, "VideoRequest", None) is VideoRequest:
            monkeypatch.setattr(module, "VideoRequest", LargerRequest)


# --- the table --------------------------------------------------------------------------------------------------------


def test_table_names_what_the_vendor_documents() -> None:
    assert [(one.name, one.wire_name, one.is_media) for one in VideoRequest.table()] == [
        ("audio_url", "audioUrl", True),
        ("video_url", "videoUrl", True),
        ("model", "model", False),
        ("model_version", "modelVersion", False),
        ("side_face", "sideFace", False),
        ("tilted_face", "tiltedFace", False),
    ]


def test_operator_takes_and_renders_each_field() -> None:
    names = {one.name for one in VideoRequest.table()}
    assert names <= inspect.signature(CreateDigitalHumanVideoOperator.__init__).parameters.keys()
    assert names <= set(CreateDigitalHumanVideoOperator.template_fields)


def test_request_is_immutable_and_shows_no_signature() -> None:
    video = VideoRequest(AUDIO + SIGNED, VIDEO + SIGNED)
    with pytest.raises(AttributeError):
        video.audio_url = AUDIO  # type: ignore[misc]
    assert "topsecret" not in repr(video) + repr(video.media)
    assert AUDIO in repr(video)


# --- one more medium --------------------------------------------------------------------------------------------------


def test_body_holds_added_medium_where_it_is_given() -> None:
    assert request().body()["backgroundUrl"] == BACKGROUND
    assert request(None).body() == VideoRequest(AUDIO, VIDEO).body()


def test_fingerprints_see_added_medium() -> None:
    for of in (lambda one: fingerprint(one, BASE), media_fingerprint):
        assert of(request()) != of(request("https://media.example.com/wood.jpg"))
        assert of(request()) == of(request(BACKGROUND + SIGNED))
        assert of(request()) != of(request(None)) == of(VideoRequest(AUDIO, VIDEO))


def test_legacy_record_belongs_to_no_request_with_added_field() -> None:
    assert legacy_fingerprint(request(), BASE) == ""
    assert legacy_fingerprint(request(None), BASE) == legacy_fingerprint(VideoRequest(AUDIO, VIDEO), BASE) != ""


def test_added_medium_is_checked() -> None:
    with pytest.raises(InvalidRequestError, match=r"^background_url='/data/beach.jpg'"):
        request("/data/beach.jpg")
    with pytest.raises(InvalidRequestError, match=r"^background_url='http://10.0.0.1/beach.jpg"):
        request("http://10.0.0.1/beach.jpg" + SIGNED).check_reachable_from(DEFAULT_BASE_URL)


def test_media_check_asks_for_added_medium() -> None:
    with serving() as server:
        server.script = [status(200, b"ID3"), status(200, b"ftyp"), status(404)]
        media = LargerRequest(server.url("/a.mp3"), server.url("/v.mp4"), background_url=server.url("/b.jpg"))
        with pytest.raises(InvalidRequestError, match=r"background_url=.*HTTP 404"):
            check_media(media, log=logging.getLogger("test"), access=FileAccess())


@pytest.mark.usefixtures("_larger")
def test_operator_refuses_added_medium_when_dag_is_parsed() -> None:
    with pytest.raises(InvalidRequestError, match=r"background_url=.*upload the file"):
        LargerOperator(task_id="create", audio_url=AUDIO, video_url=VIDEO, background_url="beach.jpg")
    LargerOperator(task_id="create", audio_url=AUDIO, video_url=VIDEO, background_url="{{ params.background }}")


@pytest.mark.usefixtures("_larger")
def test_operator_sends_records_and_reports_added_medium(
    connect: Callable[..., Any],
    context: dict[str, Any],
    records: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    studio = Studio()
    connect(studio.url)
    background = f"{studio.url}/in/b.jpg?verify=0123456789abcdef0123456789abcdef"
    operator = LargerOperator(task_id="create", **studio.media, background_url=background, check_media=True)
    try:
        assert operator.execute(context) == "v1"
        assert json.loads(studio.requests[-1].body)["backgroundUrl"] == background
        assert studio.gets("/in/b.jpg") == 1
        stored = "".join(records.values.values())
        assert f"background_url={studio.url}/in/b.jpg" in stored
        logged = "".join(caplog.messages)
        assert f"background_url={studio.url}/in/b.jpg?…: its parameter 'verify' looks like" in logged
        assert "0123456789abcdef" not in stored + logged
        assert operator.lineage_facts().media_urls[-1] == background
    finally:
        studio.close()
