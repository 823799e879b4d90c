"""The operator as a DAG author meets it: at parse time, templated, mapped, and what a run leaves behind."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, Asset, BaseOperator, XComArg

from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    InvalidConnectionError,
    InvalidRequestError,
    RateLimitError,
    RequestRefusedError,
    ServiceUnreachableError,
    SubmissionUnknownError,
    VideoFailedError,
)
from airflow_provider_digitalhuman.hooks import recorded_submission
from airflow_provider_digitalhuman.operators.digitalhuman import (
    CreateDigitalHumanVideoOperator,
    DownloadDigitalHumanVideoOperator,
)
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.support.compat import AIRFLOW
from tests.support.errors import tracebacks
from tests.support.raw_server import RawServer, answering, http_answer

AUDIO_URL = "https://media.example.com/speech.mp3"
VIDEO_URL = "https://media.example.com/person.mp4"
URLS = {"audio_url": AUDIO_URL, "video_url": VIDEO_URL}
QUEUED = {"id": "abc", "object": "video", "created": 1761635478, "model": "kyy_digitalHuman", "status": "queued"}
ACCEPTED = http_answer(200, json.dumps({**QUEUED, "error": None}))
TEMPLATED = ("audio_url", "video_url", "model", "model_version", "side_face", "tilted_face", "digitalhuman_conn_id")

Connect = Callable[..., Any]
Serve = Callable[..., RawServer]
Make = Callable[..., CreateDigitalHumanVideoOperator]


def dag(**arguments: Any) -> Any:
    return DAG("test", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **arguments)


def serialized(made: Any) -> str:
    """The DAG as Airflow's scheduler gets it; it must come back from there, too."""
    if AIRFLOW >= (3, 2):
        from airflow.serialization.serialized_objects import DagSerialization as Serialization
    else:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialization
    data = Serialization.to_dict(made)
    Serialization.from_dict(json.loads(json.dumps(data)))
    return json.dumps(data)


# --- parse time -------------------------------------------------------------------------------------------------------


def test_template_fields_are_plain_tuples_of_names() -> None:
    for kind in (CreateDigitalHumanVideoOperator, DownloadDigitalHumanVideoOperator, DigitalHumanVideoSensor):
        assert type(kind.template_fields) is tuple
        assert "digitalhuman_conn_id" in kind.template_fields
    assert CreateDigitalHumanVideoOperator.template_fields[: len(TEMPLATED)] == TEMPLATED
    with dag() as made:
        find = CreateDigitalHumanVideoOperator(task_id="find", **URLS)
        create = CreateDigitalHumanVideoOperator(task_id="create", **URLS, model=XComArg(find)["model"])
        assert create.template_fields == CreateDigitalHumanVideoOperator.template_fields
    assert create.upstream_task_ids == {"find"}
    serialized(made)


class _OfAStudio(CreateDigitalHumanVideoOperator):
    template_fields = (*CreateDigitalHumanVideoOperator.template_fields, "studio")

    def __init__(self, *, studio: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.studio = studio


def test_an_operator_built_on_it_has_its_template_fields_and_its_own(context: dict[str, Any]) -> None:
    with dag():
        operator = _OfAStudio(task_id="create", **URLS, model="{{ params.x }}", studio="{{ params.x }}")
    context["params"] = {"x": "one"}
    operator.render_template_fields(context)
    assert (operator.model, operator.studio) == ("one", "one")


def test_defaults(make_operator: Make) -> None:
    operator = make_operator()
    assert operator.model is None
    assert operator.model_version == 2
    assert (operator.side_face, operator.tilted_face) == (None, None)
    assert operator.digitalhuman_conn_id == "digitalhuman_default"
    assert operator.wait_for_completion is False
    assert operator.durable is True
    assert (operator.on_unknown_submission, operator.on_video_failed) == ("fail", "fail")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("audio_url", "/data/speech.mp3"),
        ("audio_url", "https://media.example.com/speech.flac"),
        ("audio_url", "https://media.example.com/任.mp3"),
        ("audio_url", ""),
        ("audio_url", None),
        ("video_url", "file:///data/person.mp4"),
        ("video_url", 5),
        ("video_url", ["https://media.example.com/person.mp4"]),
        ("model", ""),
        ("model", 3),
        ("model_version", 3),
        ("model_version", "three"),
        ("model_version", 1.5),
        ("model_version", True),
        ("side_face", "sometimes"),
        ("side_face", 2),
        ("tilted_face", []),
        ("on_unknown_submission", "ignore"),
        ("on_video_failed", None),
    ],
)
def test_a_bad_literal_is_refused_when_the_dag_is_parsed(make_operator: Make, field: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"^Task 'create': {field}="):
        make_operator(**{field: value})


@pytest.mark.parametrize(
    "lost", [{"destination": "file:///videos/"}, {"outlets": [Asset("a")]}, {"on_success_callback": print}]
)
def test_what_only_a_worker_does_is_not_left_to_the_triggerer(make_operator: Make, lost: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=f"end_from_trigger=True cannot be used with {next(iter(lost))}"):
        make_operator(wait_for_completion=True, deferrable=True, end_from_trigger=True, **lost)


@pytest.mark.parametrize("field", TEMPLATED[:-1])
@pytest.mark.parametrize("template", ["{{ params.x }}", "{% if true %}x{% endif %}", "x{{ ds }}", "{# no #}2"])
def test_a_template_is_not_judged_when_the_dag_is_parsed(make_operator: Make, field: str, template: str) -> None:
    assert getattr(make_operator(**{field: template}), field) == template


def test_a_misspelled_argument_is_refused(make_operator: Make) -> None:
    with pytest.raises(Exception, match="audio_uri"):
        make_operator(audio_uri=AUDIO_URL)


def test_private_media_are_only_judged_when_the_connection_is_known(make_operator: Make) -> None:
    assert make_operator(audio_url="http://127.0.0.1:8099/speech.mp3").audio_url.startswith("http://127")


# --- in a DAG ---------------------------------------------------------------------------------------------------------


def test_a_dag_with_literals_and_templates_is_serialized() -> None:
    with dag() as made:
        CreateDigitalHumanVideoOperator(task_id="create", audio_url="{{ params.audio }}", video_url=VIDEO_URL)
    text = serialized(made)
    assert "{{ params.audio }}" in text
    assert VIDEO_URL in text


def test_xcom_args_are_inputs_and_dependencies() -> None:
    with dag() as made:
        find = CreateDigitalHumanVideoOperator(task_id="find", **URLS)
        url = XComArg(find)
        create = CreateDigitalHumanVideoOperator(
            task_id="create", audio_url=url["audio"], video_url=url["video"], model_version=url["version"], model=url
        )
    assert create.upstream_task_ids == {"find"}
    serialized(made)


def test_the_output_is_an_input_for_others() -> None:
    with dag() as made:
        create = CreateDigitalHumanVideoOperator(task_id="create", **URLS)
        CreateDigitalHumanVideoOperator(
            task_id="next", audio_url=AUDIO_URL, video_url=create.output["video_url"], model=create.output
        )
    assert made.get_task("next").upstream_task_ids == {"create"}


@pytest.mark.parametrize(
    "mapped",
    [
        lambda partial: partial(video_url=VIDEO_URL).expand(audio_url=[AUDIO_URL, AUDIO_URL]),
        lambda partial: partial().expand(audio_url=[AUDIO_URL], video_url=[VIDEO_URL, VIDEO_URL]),
        lambda partial: partial(video_url=VIDEO_URL).expand_kwargs([{"audio_url": AUDIO_URL, "model_version": 1}]),
        lambda partial: partial(audio_url=AUDIO_URL, video_url=VIDEO_URL).expand(model_version=[1, 2]),
        lambda partial: partial(**URLS, model="{{ ds }}").expand(side_face=[True, False]),
        lambda partial: partial(video_url=VIDEO_URL).expand(
            audio_url=XComArg(CreateDigitalHumanVideoOperator(task_id="list", **URLS))
        ),
        lambda partial: partial().expand_kwargs(XComArg(CreateDigitalHumanVideoOperator(task_id="list", **URLS))),
    ],
)
def test_mapped(mapped: Any) -> None:
    def partial(**arguments: Any) -> Any:
        return CreateDigitalHumanVideoOperator.partial(task_id="create", retries=2, **arguments)

    with dag() as made:
        mapped(partial)
    assert type(made.get_task("create")).__name__ == "MappedOperator"
    assert "CreateDigitalHumanVideoOperator" in serialized(made)


def test_one_of_the_mapped_is_the_operator_itself() -> None:
    with dag():
        mapped = CreateDigitalHumanVideoOperator.partial(task_id="create", video_url=VIDEO_URL).expand(
            audio_url=[AUDIO_URL]
        )
    assert tuple(mapped.template_fields) == tuple(CreateDigitalHumanVideoOperator.template_fields)
    operator = mapped.unmap({"audio_url": AUDIO_URL})
    assert isinstance(operator, CreateDigitalHumanVideoOperator)
    assert (operator.audio_url, operator.video_url) == (AUDIO_URL, VIDEO_URL)


# --- rendering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({"version": 1, "side": True}, {"modelVersion": 1, "sideFace": 1}),
        ({"version": "2", "side": "False"}, {"modelVersion": 2}),
        ({"version": 2, "side": 0}, {"modelVersion": 2}),
    ],
)
def test_rendered_values_are_sent(
    connect: Connect, serve: Serve, context: dict[str, Any], native: bool, params: dict[str, Any], body: dict[str, Any]
) -> None:
    server = serve(answering(ACCEPTED))
    connect(server.url, conn_id="eu")
    with dag(render_template_as_native_obj=native):
        operator = CreateDigitalHumanVideoOperator(
            task_id="create",
            audio_url="http://{{ params.host }}/speech.mp3",
            video_url="http://{{ params.host }}/{{ params.name }}.mp4",
            model="m-{{ params.version }}",
            model_version="{{ params.version }}",
            side_face="{{ params.side }}",
            digitalhuman_conn_id="{{ params.region }}",
        )
    host = server.url.removeprefix("http://")
    context["params"] = {**params, "region": "eu", "host": host, "name": "person"}
    operator.render_template_fields(context)
    assert operator.execute(context) == "abc"
    (request,) = server.requests
    assert json.loads(request.body) == {
        "model": f"m-{params['version']}",
        "audioUrl": f"http://{host}/speech.mp3",
        "videoUrl": f"http://{host}/person.mp4",
        **body,
    }


@pytest.mark.parametrize(
    ("field", "template", "param"),
    [
        ("model_version", "{{ params.x }}", "3"),
        ("model_version", "{{ params.x }}", None),
        ("side_face", "{{ params.x }}", "perhaps"),
        ("audio_url", "{{ params.x }}", "/data/speech.mp3"),
        ("audio_url", "{{ params.x }}", None),
        ("video_url", "{{ params.missing }}", None),
        ("model", "{{ params.x }}", " "),
    ],
)
def test_a_bad_rendered_value_is_refused_before_the_post(
    connect: Connect,
    serve: Serve,
    context: dict[str, Any],
    make_operator: Make,
    field: str,
    template: str,
    param: Any,
) -> None:
    server = serve(answering(ACCEPTED))
    connect(server.url)
    operator = make_operator(**{field: template})
    context["params"] = {"x": param}
    operator.render_template_fields(context, jinja_env=operator.get_template_env())
    with pytest.raises(AirflowFailException, match=f"{field}=") as caught:
        operator.execute(context)
    assert isinstance(caught.value.__context__, InvalidRequestError)
    assert server.connections == 0


# --- a run ------------------------------------------------------------------------------------------------------------


def test_what_a_run_leaves_behind(
    connect: Connect, serve: Serve, context: dict[str, Any], ti: Any, make_operator: Make
) -> None:
    server = serve(answering(ACCEPTED))
    connect(server.url)
    result = make_operator().execute(context)
    assert type(result) is str
    assert result == "abc"
    assert server.posts == 1
    assert (
        ti.xcoms["video_task"].items()
        >= {
            "id": "abc",
            "object": "video",
            "created": "2025-10-28T07:11:18+00:00",
            "model": "kyy_digitalHuman",
            "status": "queued",
        }.items()
    )
    assert json.loads(json.dumps(ti.xcoms, allow_nan=False)) == ti.xcoms


@pytest.mark.parametrize(
    ("model", "extra", "sent"),
    [
        (None, {}, "kyy_digitalHuman"),
        (None, {"model": "digitalHuman"}, "digitalHuman"),
        ("mine", {"model": "digitalHuman"}, "mine"),
    ],
)
def test_the_model_comes_from_the_connection_unless_it_is_named(
    connect: Connect,
    serve: Serve,
    context: dict[str, Any],
    make_operator: Make,
    model: str | None,
    extra: dict[str, Any],
    sent: str,
) -> None:
    server = serve(answering(ACCEPTED))
    connect(server.url, extra=extra)
    make_operator(model=model).execute(context)
    assert json.loads(server.requests[0].body)["model"] == sent


def test_logs_say_what_is_submitted_without_signatures(
    connect: Connect, serve: Serve, context: dict[str, Any], make_operator: Make, everything_logged: Callable[[], str]
) -> None:
    server = serve(answering(ACCEPTED))
    connect(server.url)
    signed = {"audio_url": AUDIO_URL + "?Signature=s3cr3t", "video_url": VIDEO_URL + "?X-Amz-Signature=s3cr3t#s3cr3t"}
    make_operator(**signed).execute(context)
    logged = everything_logged()
    assert AUDIO_URL in logged
    assert VIDEO_URL in logged
    assert "abc" in logged
    assert "s3cr3t" not in logged
    assert json.loads(server.requests[0].body)["audioUrl"] == signed["audio_url"]


SIGNED = {"audio_url": AUDIO_URL + "?Signature=s3cr3t", "video_url": VIDEO_URL + "?Signature=s3cr3t"}
FAILURES: list[tuple[bytes, type[DigitalHumanError], bool]] = [
    (http_answer(200, '{"code": "204", "msg": "登录验证失败"}'), AuthenticationError, True),
    (http_answer(401), AuthenticationError, True),
    (http_answer(402), InsufficientBalanceError, True),
    (http_answer(200, '{"code": 1001, "msg": "素材 URL 无法访问", "data": null}'), RequestRefusedError, True),
    (http_answer(404), RequestRefusedError, True),
    (http_answer(400), RequestRefusedError, True),
    (http_answer(429), RateLimitError, False),
    (http_answer(502, "<html>"), SubmissionUnknownError, True),
    (http_answer(200), SubmissionUnknownError, True),
    (http_answer(200, '{"id": "abc", "status": "failed", "error": "风控拒绝"}'), VideoFailedError, True),
]


@pytest.mark.parametrize(("answer", "expected", "ends_retries"), FAILURES)
def test_which_failures_airflow_may_retry(
    connect: Connect,
    serve: Serve,
    context: dict[str, Any],
    waits: list[float],
    make_operator: Make,
    answer: bytes,
    expected: type[DigitalHumanError],
    ends_retries: bool,
) -> None:
    server = serve(answering(answer))
    connect(server.url)
    with pytest.raises(AirflowFailException if ends_retries else expected) as caught:
        make_operator(**SIGNED).execute(context)
    error = caught.value.__context__ or caught.value
    assert isinstance(error, expected)
    assert str(error) in str(caught.value)
    assert tracebacks(caught.value) == 1
    assert "s3cr3t" not in str(caught.value)
    assert server.posts == (1 if expected is not RateLimitError else len(waits) + 1)


def test_no_server_is_left_to_airflows_retries(
    connect: Connect, context: dict[str, Any], waits: list[float], make_operator: Make
) -> None:
    connect("http://127.0.0.1:1")
    with pytest.raises(ServiceUnreachableError) as caught:
        make_operator().execute(context)
    assert tracebacks(caught.value) == 1


@pytest.mark.parametrize("fields", [{"password": ""}, {"host": "ftp://x"}, {"extra": {"verify": "/no/such/file"}}])
def test_a_bad_connection_ends_the_retries(
    connect: Connect, context: dict[str, Any], make_operator: Make, fields: dict[str, Any]
) -> None:
    connect(**fields)
    with pytest.raises(AirflowFailException) as caught:
        make_operator().execute(context)
    assert isinstance(caught.value.__context__, InvalidConnectionError)


def test_private_media_are_refused_for_the_vendors_address(
    connect: Connect, context: dict[str, Any], make_operator: Make
) -> None:
    connect()
    with pytest.raises(AirflowFailException, match=r"video_url='http://localhost/person\.mp4\?…' cannot"):
        make_operator(video_url="http://localhost/person.mp4?Signature=s3cr3t").execute(context)


def test_f11_keeps_the_id_of_a_video_that_failed_at_once(
    connect: Connect, serve: Serve, context: dict[str, Any], ti: Any, make_operator: Make
) -> None:
    connect(serve(answering(http_answer(200, '{"id": "abc", "status": "failed", "error": "风控拒绝"}'))).url)
    with pytest.raises(AirflowFailException, match=r"abc.*风控拒绝"):
        make_operator().execute(context)
    assert ti.xcoms["video_task"]["id"] == "abc"
    assert ti.xcoms["video_task"]["status"] == "failed"
    assert ti.xcoms["video_task"]["error"] == "风控拒绝"


def test_the_operator_is_a_plain_operator() -> None:
    assert issubclass(CreateDigitalHumanVideoOperator, BaseOperator)
    assert CreateDigitalHumanVideoOperator.__module__ == "airflow_provider_digitalhuman.operators.digitalhuman"


# --- the record's end -------------------------------------------------------------------------------------------------


def test_record_is_ended_before_the_authors_own_callbacks(
    connect: Connect, serve: Serve, context: dict[str, Any], make_operator: Make
) -> None:
    def own(context: Any) -> None: ...

    connect(serve(answering(ACCEPTED)).url)
    for given in (own, [own]):
        operator = make_operator(**URLS, on_success_callback=given)
        for _ in range(2):  # dag.test() runs all tries in one process
            operator.execute(context)
            callbacks: Any = operator.on_success_callback
            assert [callback is own for callback in callbacks] == [False, True]
    forgetful = make_operator(**URLS, durable=False, on_success_callback=own)
    forgetful.execute(context)
    assert forgetful.on_success_callback in (own, [own])


@pytest.mark.parametrize(
    ("airflow_says", "stage"), [(True, "returned"), (False, "submitted"), (ConnectionError("away"), "submitted")]
)
def test_record_is_ended_once_airflow_has_the_success(
    connect: Connect,
    serve: Serve,
    context: dict[str, Any],
    make_operator: Make,
    monkeypatch: pytest.MonkeyPatch,
    records: Any,
    airflow_says: Any,
    stage: str,
) -> None:
    def has_succeeded(ti: Any) -> bool:
        if isinstance(airflow_says, Exception):
            raise airflow_says
        return bool(airflow_says)

    def recorded() -> Any:
        """Return the stage; below Airflow 3.3 the record goes with the end."""
        return next((json.loads(text)["stage"] for text in records.values.values()), "returned")

    monkeypatch.setattr(recorded_submission, "has_succeeded", has_succeeded)
    connect(serve(answering(ACCEPTED)).url)
    operator: Any = make_operator(**URLS)
    assert operator.execute(context) == "abc"
    assert recorded() == "submitted"  # Airflow can still fail it
    context["ti"].task = operator
    (end_the_record,) = operator.on_success_callback
    end_the_record(context)
    assert recorded() == stage
