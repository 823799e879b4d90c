"""Every row of the contract's fault table: the real hook and the real operator against the real sandbox, POSTs counted.

F2 and F9 are bounded, F1 sends nothing, and all others send exactly one POST.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    InvalidRequestError,
    QueryError,
    RateLimitError,
    RequestRefusedError,
    ServiceUnreachableError,
    SubmissionUnknownError,
    VideoFailedError,
    VideoTaskNotFoundError,
    VideoUrlMissingError,
)
from airflow_provider_digitalhuman.hooks import digitalhuman as hook_module
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.operators import run as run_module
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sandbox.testing import SandboxClient, running_sandbox
from airflow_provider_digitalhuman.support.compat import HAS_TASK_STATE_STORE
from tests.support.errors import meaning
from tests.support.raw_server import answering, http_answer

KEY = "sk-4f1d-this-is-the-key-9c2b"
# Nobody listens there: the sandbox accepts the task, and has no video to make.
MEDIA = {"audio_url": "http://127.0.0.1:1/speech.mp3", "video_url": "http://127.0.0.1:1/person.mp4"}
MOST_ATTEMPTS = 10
PATIENCE = 60.0

Submit = Callable[..., str]
Make = Callable[..., CreateDigitalHumanVideoOperator]


@pytest.fixture(scope="module")
def running() -> Iterator[SandboxClient]:
    with running_sandbox(api_key=KEY) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: SandboxClient) -> Iterator[SandboxClient]:
    running.reset()
    yield running
    running.clear_faults()


@pytest.fixture
def hook(connect: Any, sandbox: SandboxClient) -> DigitalHumanHook:
    return connect(sandbox.base_url, password=KEY)


@pytest.fixture
def impatient(connect: Any, sandbox: SandboxClient) -> Callable[[], DigitalHumanHook]:
    """Let the connection's time-outs end soon, where a fault is long; elsewhere a busy machine must not meet them."""
    return lambda: connect(sandbox.base_url, password=KEY, extra={"submit_timeout": 1, "query_timeout": 1})


@pytest.fixture(params=["hook", "operator"])
def submit(
    request: pytest.FixtureRequest, hook: DigitalHumanHook, context: dict[str, Any], make_operator: Make
) -> Submit:
    """Submit a video through the hook, or through the operator; the error is the provider's own either way."""

    def through_the_hook(**parameters: Any) -> str:
        task = hook.create_video(VideoRequest(**{**MEDIA, **parameters}))
        if task.is_failed:
            raise VideoFailedError(str(task.error))  # as the operator does
        return task.id

    def through_the_operator(**parameters: Any) -> str:
        operator = make_operator(**MEDIA)
        vars(operator).update(parameters)  # as if a template had been rendered to it
        ended: BaseException | None = None
        try:
            return operator.execute(context)
        except AirflowFailException as error:
            ended = error.__context__ or error
        assert isinstance(ended, DigitalHumanError)
        assert ended.ends_retries
        raise ended

    return through_the_hook if request.param == "hook" else through_the_operator


# --- creates ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One fault of a create, and what must come of it."""

    row: str
    fault: str
    expected: type[DigitalHumanError]
    when: str = "before"
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.row, self.fault, self.when, *map(str, self.options.values())])


def cases(row: str, fault: str, expected: type[DigitalHumanError], *whens: str, **options: Any) -> list[Case]:
    return [Case(row, fault, expected, when, options) for when in whens or ("before",)]


BOTH = ("before", "after")
UNKNOWN = SubmissionUnknownError
ONE_POST: list[Case] = [
    *cases("F3", "reset", UNKNOWN, *BOTH),
    *cases("F3", "close", UNKNOWN, *BOTH),
    *cases("F3", "hang", UNKNOWN, *BOTH, seconds=60),
    *cases("F3", "hang", UNKNOWN, *BOTH, seconds=0.1, then="close"),
    *cases("F3", "truncated", UNKNOWN, *BOTH),
    *cases("F3", "slow", UNKNOWN, "after", seconds=30),
    *(
        case
        for status, body in ((500, "html"), (502, "html"), (503, "json"), (504, "empty"), (520, "text"), (408, "html"))
        for case in cases("F4", "http_status", UNKNOWN, *BOTH, status=status, body=body)
    ),
    *cases("F4", "spring_error", UNKNOWN, *BOTH, status=500),
    *cases("F4", "empty_answer", UNKNOWN, *BOTH),
    *cases("F4", "html_page", UNKNOWN, *BOTH),
    *cases("F4", "invalid_json", UNKNOWN, *BOTH),
    *cases("F4", "json_array", UNKNOWN, *BOTH),
    *cases("F5", "no_id", UNKNOWN, *BOTH),
    *cases("F5", "custom", UNKNOWN, *BOTH, text='{"code": 0, "msg": "success", "data": null}'),
    *cases("F5", "custom", UNKNOWN, text='{"timestamp": "x", "status": 500, "error": "failed", "path": "/"}'),
    *cases("F6", "error_code", RequestRefusedError),
    *cases("F6", "error_code", RequestRefusedError, code=1001, msg="素材 URL 无法访问"),
    *cases("F6", "error_code", RequestRefusedError, code="1001", msg="素材 URL 无法访问"),
    *cases("F6", "error_code", RequestRefusedError, code=-1, msg=""),
    *cases("F7", "login_failed", AuthenticationError),
    *cases("F7", "unauthorized", AuthenticationError, status=401),
    *cases("F7", "unauthorized", AuthenticationError, status=403),
    *cases("F8", "payment_required", InsufficientBalanceError),
    *cases("F8", "no_balance", InsufficientBalanceError),
    *(
        case
        for status in (400, 404, 405, 413, 415, 422)
        for body in ("html", "json", "empty")
        for case in cases("F10", "http_status", RequestRefusedError, status=status, body=body)
    ),
    *cases("F10", "no_handler", RequestRefusedError),
    *cases("F10", "spring_error", RequestRefusedError, status=404),
    *(case for status in (301, 307, 308) for case in cases("redirect", "redirect", RequestRefusedError, status=status)),
    *(case for status in (302, 303) for case in cases("redirect", "redirect", UNKNOWN, *BOTH, status=status)),
    *cases("F11", "failed_at_once", VideoFailedError, "after"),
    *(
        case
        for how in ("length", "gzip", "http_500")
        for case in cases("F24", "broken_with_id", UNKNOWN, "after", how=how)
    ),
    *(
        case
        for field in ("taskId", "task_id", "videoId", "video_id", "projectId")
        for case in cases("F25", "other_id_name", UNKNOWN, *BOTH, field=field)
    ),
    *(
        case
        for status in (400, 401, 402, 403, 404, 422, 429, 500)
        for case in cases("F25", "other_id_name", UNKNOWN, *BOTH, status=status, code=status)
    ),
    *cases("F25", "other_id_name", UNKNOWN, *BOTH, code="204"),
    *cases("F25", "other_id_name", UNKNOWN, *BOTH, code=429),
    *cases("F25", "other_id_name", UNKNOWN, *BOTH, code=0),
    *(
        case
        for status, text in (
            (429, '{"msg": "busy, queued", "data": [{"id": "V1", "status": "queued"}]}'),
            (429, '{"result": {"id": "V1", "status": "queued"}}'),
            (400, '{"data": {"task": {"id": "V1", "status": "queued"}}}'),
            (200, '{"code": 1, "msg": "success", "data": {"task": {"id": "V1", "status": "queued"}}}'),
            (200, '{"code": 1, "msg": "success", "data": [{"id": "V1", "status": "queued"}]}'),
            (200, '{"code": "success", "data": "V1"}'),
            (200, '{"code": 1, "msg": "success", "data": {"jobId": "V1"}}'),
        )
        for case in cases("F25 by form", "custom", UNKNOWN, *BOTH, status=status, text=text)
    ),
]


@pytest.mark.parametrize("case", ONE_POST, ids=str)
def test_exactly_one_post(
    sandbox: SandboxClient, submit: Submit, impatient: Callable[[], Any], waits: list[float], case: Case
) -> None:
    if case.options.get("seconds", 0) > 1:
        impatient()
    sandbox.add_fault(on="create", fault=case.fault, when=case.when, times=None, **case.options)
    with pytest.raises(DigitalHumanError) as caught:
        submit()
    assert meaning(caught.value) is case.expected
    assert KEY not in str(caught.value)
    ledger = sandbox.ledger()
    assert ledger["posts"] == 1
    assert ledger["charged"] == (1 if case.when == "after" else 0)
    if case.row in ("F24", "F25") and case.when == "after":
        assert ledger["tasks"][0]["id"] in str(caught.value)
    if case.row == "F25 by form":
        assert "An ID stands in the answer: V1." in str(caught.value)
    assert ledger["requests"][0]["authorized"]
    assert ledger["elsewhere"] == ledger["key_leaked_elsewhere"] == 0
    assert waits == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"audio_url": "/data/speech.mp3"},
        {"audio_url": "http://127.0.0.1:1/任.mp3"},
        {"audio_url": "http://127.0.0.1:1/speech.flac"},
        {"video_url": "file:///data/person.mp4"},
        {"video_url": ""},
        {"model": " "},
        {"model_version": "3"},
        {"side_face": "perhaps"},
        {"tilted_face": 2},
    ],
)
def test_f1_nothing_is_sent(sandbox: SandboxClient, submit: Submit, parameters: dict[str, Any]) -> None:
    (name,) = parameters
    with pytest.raises(InvalidRequestError, match=f"^{name}="):
        submit(**parameters)
    assert sandbox.ledger()["posts"] == 0


def unreachable(sandbox: SandboxClient, trouble: str) -> str:
    """A base URL that no byte of a request gets to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed_port = listener.getsockname()[1]
    return {
        "refused": f"http://127.0.0.1:{closed_port}/kyyReactApiServer",
        "no such name": "http://no-such-host.invalid/kyyReactApiServer",
        "no tls there": sandbox.base_url.replace("http://", "https://"),
    }[trouble]


@pytest.mark.parametrize("trouble", ["refused", "no such name", "no tls there"])
def test_f2_is_bounded_and_nothing_is_sent(
    connect: Any, sandbox: SandboxClient, submit: Submit, waits: list[float], trouble: str
) -> None:
    connect(unreachable(sandbox, trouble), password=KEY, extra={"connect_timeout": 5})
    public = {"audio_url": "https://media.example.com/speech.mp3", "video_url": "https://media.example.com/person.mp4"}
    with pytest.raises(ServiceUnreachableError):  # which Airflow may retry
        submit(**public)
    assert 1 < len(waits) + 1 <= MOST_ATTEMPTS
    assert sandbox.ledger()["posts"] == 0


@pytest.mark.parametrize("trouble", ["refused", "no tls there"])
def test_f2_the_next_try_sends(
    connect: Any, sandbox: SandboxClient, context: dict[str, Any], waits: list[float], make_operator: Make, trouble: str
) -> None:
    connect(unreachable(sandbox, trouble), password=KEY, extra={"connect_timeout": 5})
    with pytest.raises(ServiceUnreachableError):
        make_operator(**MEDIA).execute(context)
    connect(sandbox.base_url, password=KEY)
    context["ti"].try_number = 2
    assert make_operator(**MEDIA).execute(context)
    assert sandbox.ledger()["posts"] == sandbox.ledger()["charged"] == 1


def test_f7_a_key_that_is_really_wrong(
    connect: Any, sandbox: SandboxClient, submit: Submit, waits: list[float]
) -> None:
    connect(sandbox.base_url, password="another-key-that-is-not-known")
    with pytest.raises(AuthenticationError, match="API key"):
        submit()
    ledger = sandbox.ledger()
    assert ledger["posts"] == 1
    assert not ledger["requests"][0]["authorized"]
    assert waits == []


def test_f10_a_base_url_that_is_really_wrong(
    connect: Any, sandbox: SandboxClient, submit: Submit, waits: list[float]
) -> None:
    connect(sandbox.root_url + "/nowhere", password=KEY)
    with pytest.raises(RequestRefusedError, match="Base URL"):
        submit()
    ledger = sandbox.ledger()
    assert ledger["posts"] == 0
    assert ledger["unknown_paths"] == 1


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("retry_after", [None, "0", "2", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_f9_is_sent_again_and_charged_once(
    sandbox: SandboxClient, submit: Submit, waits: list[float], times: int, retry_after: str | None
) -> None:
    sandbox.add_fault(on="create", fault="rate_limited", times=times, retry_after=retry_after)
    task_id = submit()
    ledger = sandbox.ledger()
    assert ledger["posts"] == times + 1 == len(waits) + 1
    assert ledger["charged"] == 1
    assert ledger["tasks"][0]["id"] == task_id
    assert all(wait >= (2 if retry_after == "2" else 0.5) for wait in waits)


@pytest.mark.parametrize("retry_after", [None, "3", "86400"])
def test_f9_is_bounded(sandbox: SandboxClient, submit: Submit, waits: list[float], retry_after: str | None) -> None:
    sandbox.add_fault(on="create", fault="rate_limited", times=None, retry_after=retry_after)
    with pytest.raises(RateLimitError):
        submit()
    ledger = sandbox.ledger()
    assert 1 <= ledger["posts"] == len(waits) + 1 <= MOST_ATTEMPTS
    assert ledger["charged"] == 0


def test_f11_the_id_of_a_video_that_failed_at_once_is_kept(
    sandbox: SandboxClient, hook: DigitalHumanHook, context: dict[str, Any], ti: Any, make_operator: Make
) -> None:
    sandbox.add_fault(on="create", fault="failed_at_once", when="after")
    with pytest.raises(AirflowFailException) as caught:
        make_operator(**MEDIA).execute(context)
    (task,) = sandbox.ledger()["tasks"]
    assert task["id"] in str(caught.value)
    assert ti.xcoms["video_task"]["id"] == task["id"]
    assert ti.xcoms["video_task"]["status"] == "failed"


class KilledError(BaseException):
    """The end of the process, as far as it can be had without ending the tests."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_f12_a_process_that_dies_around_the_post(
    sandbox: SandboxClient,
    hook: DigitalHumanHook,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    make_operator: Make,
    when: str,
) -> None:
    """Something ends the try while the POST is under way: the next try sees the intent, and does not send."""
    sandbox.add_fault(on="create", fault="hang", when=when, seconds=60)

    def die(*args: Any) -> None:
        raise KilledError

    def kill_during_the_post() -> None:
        deadline = time.monotonic() + PATIENCE
        while sandbox.ledger()["posts"] == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, die)
    killer = threading.Thread(target=kill_during_the_post)
    killer.start()
    try:
        connection = json.loads(os.environ["AIRFLOW_CONN_DIGITALHUMAN_DEFAULT"])
        connection["extra"] = {"submit_timeout": PATIENCE}
        monkeypatch.setenv("AIRFLOW_CONN_DIGITALHUMAN_DEFAULT", json.dumps(connection))
        with pytest.raises(KilledError):
            make_operator(**MEDIA).execute(context)
    finally:
        killer.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)
    assert sandbox.ledger()["posts"] == 1
    sandbox.clear_faults()
    if not HAS_TASK_STATE_STORE:
        return  # the record lives in Airflow's database there, which unit tests have not: see tests/airflow
    context["ti"].try_number = 2
    with pytest.raises(AirflowFailException) as caught:
        make_operator(**MEDIA).execute(context)
    assert isinstance(caught.value, SubmissionUnknownError)
    ledger = sandbox.ledger()
    assert ledger["posts"] == 1
    assert ledger["charged"] == (1 if when == "after" else 0)


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (None, {}),
        ("envelope", {}),
        ("envelope", {"code": "0"}),
        ("envelope", {"code": 200}),
        ("with_code", {"code": "200"}),
        ("created_in_ms", {}),
        ("other_model", {}),
        ("special_id", {}),
        ("slow", {"seconds": 0.2}),
    ],
)
def test_every_form_of_an_acceptance(
    sandbox: SandboxClient, submit: Submit, hook: DigitalHumanHook, fault: str | None, options: dict[str, Any]
) -> None:
    sandbox.add_fault(on="task", fault="never_finishes")
    if fault:
        sandbox.add_fault(on="create", fault=fault, when="after", **options)
    task_id = submit()
    ledger = sandbox.ledger()
    assert ledger["posts"] == ledger["charged"] == 1
    assert ledger["tasks"][0]["id"] == task_id
    assert hook.get_video(task_id).id == task_id


# --- queries ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def task_id(sandbox: SandboxClient, hook: DigitalHumanHook) -> str:
    """A task that is being made for ever."""
    sandbox.add_fault(on="task", fault="never_finishes")
    return hook.create_video(VideoRequest(**MEDIA)).id


QUERY_FAULTS: list[tuple[str, str, dict[str, Any], type[DigitalHumanError]]] = [
    ("F13", "reset", {}, QueryError),
    ("F13", "close", {}, QueryError),
    ("F13", "hang", {"seconds": 60}, QueryError),
    ("F13", "slow", {"seconds": 30}, QueryError),
    ("F13", "truncated", {}, QueryError),
    ("F13", "invalid_json", {}, QueryError),
    ("F13", "empty_answer", {}, QueryError),
    ("F13", "html_page", {}, QueryError),
    ("F13", "json_array", {}, QueryError),
    *(("F13", "http_status", {"status": status}, QueryError) for status in (500, 502, 503, 504, 400)),
    ("F13", "spring_error", {"status": 500}, QueryError),
    ("F13", "redirect", {"status": 302}, QueryError),
    ("F13", "error_code", {"code": 500}, QueryError),
    ("F13", "custom", {"text": '{"status": "failed", "error": "Internal Server Error"}'}, QueryError),
    ("F13", "rate_limited", {}, RateLimitError),
    ("F13", "rate_limited", {"retry_after": "7"}, RateLimitError),
    ("F14", "login_failed", {}, AuthenticationError),
    ("F14", "unauthorized", {"status": 401}, AuthenticationError),
    ("F14", "unauthorized", {"status": 403}, AuthenticationError),
    ("F15", "unknown_id", {}, VideoTaskNotFoundError),
    ("F15", "no_handler", {}, VideoTaskNotFoundError),
    *(("F26", "another_task", {"word": word}, QueryError) for word in ("completed", "failed", "cancelled", "queued")),
]


@pytest.mark.parametrize(("row", "fault", "options", "expected"), QUERY_FAULTS)
def test_a_query_fault_that_passes_does_no_harm(
    sandbox: SandboxClient,
    hook: DigitalHumanHook,
    task_id: str,
    impatient: Callable[[], DigitalHumanHook],
    waits: list[float],
    row: str,
    fault: str,
    options: dict[str, Any],
    expected: type[DigitalHumanError],
) -> None:
    hook = impatient() if "seconds" in options else hook
    sandbox.add_fault(on="query", fault=fault, times=2, **options)
    task = hook.get_video(task_id)
    assert (task.id, task.is_failed, task.is_completed) == (task_id, False, False)
    ledger = sandbox.ledger()
    assert ledger["queries"] == 3 == len(waits) + 1
    assert ledger["posts"] == 1
    assert all(wait >= float(options.get("retry_after", 0.5)) for wait in waits)


@pytest.mark.parametrize(("row", "fault", "options", "expected"), QUERY_FAULTS)
def test_a_query_fault_that_stays_is_an_error_and_the_task_lives_on(
    sandbox: SandboxClient,
    hook: DigitalHumanHook,
    task_id: str,
    impatient: Callable[[], DigitalHumanHook],
    waits: list[float],
    row: str,
    fault: str,
    options: dict[str, Any],
    expected: type[DigitalHumanError],
) -> None:
    hook = impatient() if "seconds" in options else hook
    sandbox.add_fault(on="query", fault=fault, times=None, **options)
    with pytest.raises(DigitalHumanError) as caught:
        hook.get_video(task_id)
    assert meaning(caught.value) is expected, row
    assert task_id in str(caught.value)
    assert KEY not in str(caught.value)
    ledger = sandbox.ledger()
    assert 1 < ledger["queries"] == len(waits) + 1 <= MOST_ATTEMPTS
    assert ledger["elsewhere"] == ledger["key_leaked_elsewhere"] == 0
    sandbox.clear_faults()
    assert not hook.get_video(task_id).is_failed
    assert sandbox.ledger()["posts"] == 1


def test_f15_an_id_that_is_really_unknown(sandbox: SandboxClient, hook: DigitalHumanHook, waits: list[float]) -> None:
    with pytest.raises(VideoTaskNotFoundError, match="no-such-task"):
        hook.get_video("no-such-task")
    assert sandbox.ledger()["posts"] == 0


@pytest.mark.parametrize("word", ["failed", "cancelled", "expired"])
def test_f16_an_end_without_a_video(
    sandbox: SandboxClient, hook: DigitalHumanHook, waits: list[float], word: str
) -> None:
    sandbox.add_fault(on="task", fault="fails", word=word, error="policy rejected")
    sandbox.add_fault(on="task", fault="takes", seconds=0)
    task = until_it_ends(hook, hook.create_video(VideoRequest(**MEDIA)).id)
    assert task.is_failed
    assert task.status == word
    assert task.error == "policy rejected"
    assert sandbox.ledger()["posts"] == 1


def test_f17_an_unknown_word(sandbox: SandboxClient, hook: DigitalHumanHook, task_id: str, waits: list[float]) -> None:
    sandbox.add_fault(on="query", fault="status_word", word="Rendering")
    task = hook.get_video(task_id)
    assert (task.status, task.is_known_status) == ("rendering", False)
    assert (task.is_failed, task.is_completed) == (False, False)
    assert sandbox.ledger()["queries"] == 1


def until_it_ends(hook: DigitalHumanHook, video_task_id: str) -> VideoTask:
    deadline = time.monotonic() + PATIENCE
    while True:
        task = hook.get_video(video_task_id)
        if task.is_completed or task.is_failed or time.monotonic() > deadline:
            return task
        time.sleep(0.1)


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[SandboxClient]:
    """A sandbox of its own for the finished video: each test of the other one resets that, in whatever order."""
    with running_sandbox(api_key=KEY) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def finished(undisturbed: SandboxClient) -> str:
    """One video that was really made; the tests that use it switch faults on."""
    with pytest.MonkeyPatch.context() as patch:
        connection = {"conn_type": "digitalhuman", "password": KEY, "host": undisturbed.base_url}
        patch.setenv("AIRFLOW_CONN_DIGITALHUMAN_DEFAULT", json.dumps(connection))
        with DigitalHumanHook() as hook:
            request = VideoRequest(undisturbed.sample_audio_url, undisturbed.sample_video_url)
            task = until_it_ends(hook, hook.create_video(request).id)
    assert task.is_completed, task
    return task.id


class TestFinishedVideo:
    """What a query can say about a video that is there."""

    @pytest.fixture
    def running(self, undisturbed: SandboxClient) -> Iterator[SandboxClient]:
        undisturbed.clear_faults()
        yield undisturbed
        undisturbed.clear_faults()

    @pytest.fixture
    def hook(self, connect: Any, running: SandboxClient) -> DigitalHumanHook:
        hook: DigitalHumanHook = connect(running.base_url, password=KEY)
        return hook

    def test_f18_completed_without_url(self, running: SandboxClient, hook: DigitalHumanHook, finished: str) -> None:
        running.add_fault(on="query", fault="completed_without_url", times=1)
        task = hook.get_video(finished)
        assert task.is_completed
        assert task.video_url is None
        again = hook.get_video(finished)
        assert again.video_url is not None
        assert again.video_url.startswith(running.root_url)

    @pytest.mark.parametrize("field", ["videoUrl", "video_url"])
    def test_hook_takes_repeated_request_for_completed_without_url(
        self, running: SandboxClient, hook: DigitalHumanHook, finished: str, field: str
    ) -> None:
        running.add_fault(on="query", fault="repeats_request", field=field)
        task = hook.get_video(finished, running.sample_video_url)
        assert (task.is_completed, task.video_url) == (True, None)
        assert (hook.get_video(finished, running.sample_video_url).video_url or "").startswith(running.root_url)

    @pytest.mark.parametrize("name", ["result_url", "videoUrl"])
    def test_the_url_under_another_name(
        self, running: SandboxClient, hook: DigitalHumanHook, finished: str, name: str
    ) -> None:
        running.add_fault(on="query", fault="url_field", field=name)
        assert (hook.get_video(finished).video_url or "").startswith(running.root_url)

    @pytest.mark.parametrize("fault", ["envelope", "with_code", "created_in_ms", "other_model"])
    def test_every_form_of_the_answer(
        self, running: SandboxClient, hook: DigitalHumanHook, finished: str, fault: str
    ) -> None:
        plain = hook.get_video(finished)
        running.add_fault(on="query", fault=fault)
        other = hook.get_video(finished)
        assert (other.id, other.status, other.video_url) == (plain.id, plain.status, plain.video_url)
        assert other.created == plain.created
        assert other.md5 == plain.md5

    def test_the_md5_in_upper_case(self, running: SandboxClient, hook: DigitalHumanHook, finished: str) -> None:
        plain = hook.get_video(finished)
        running.add_fault(on="query", fault="md5", form="uppercase")
        assert hook.get_video(finished).md5 == plain.md5

    @pytest.mark.parametrize("value", ["风控拒绝", {"code": "X", "message": "m", "type": "t"}, "", None, [], 5, True])
    def test_an_error_beside_a_video_changes_nothing(
        self, running: SandboxClient, hook: DigitalHumanHook, finished: str, value: Any
    ) -> None:
        running.add_fault(on="query", fault="error_value", value=value)
        assert hook.get_video(finished).is_completed


# --- F26: the presenter's clip is no result ---------------------------------------------------------------------------

RESULT_URL = "http://127.0.0.1:1/result.mp4"
CLIP = http_answer(200, json.dumps({"id": "T", "status": "completed", "video_url": MEDIA["video_url"]}))
REPEATED = http_answer(
    200,
    json.dumps(
        {"id": "T", "status": "completed", "audioUrl": MEDIA["audio_url"], "videoUrl": MEDIA["video_url"] + "?s=2"}
    ),
)
RESULT = http_answer(200, json.dumps({"id": "T", "status": "completed", "video_url": RESULT_URL}))
CLIP_EVENT = {
    "status": "completed",
    "video_task_id": "T",
    "video_task": {"id": "T", "status": "completed", "video_url": MEDIA["video_url"]},
    "times": {},
}


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> list[float]:
    """The seconds that the operator has waited between queries; it does not really wait."""
    monkeypatch.setattr(run_module, "time", hook_module.time)
    return waits


@pytest.mark.parametrize("answer", [CLIP, REPEATED])
def test_operator_asks_again_where_trigger_brings_sent_clip(
    connect: Any, serve: Any, context: dict[str, Any], ti: Any, slept: list[float], make_operator: Make, answer: bytes
) -> None:
    server = serve(answering(answer, answer, RESULT))
    connect(server.url)
    assert make_operator(**MEDIA, wait_for_completion=True).execute_complete(context, CLIP_EVENT) == "T"
    assert ti.xcoms["video_task"]["video_url"] == RESULT_URL
    assert [request.method for request in server.requests] == ["GET"] * 3
    assert len(slept) == 2


@pytest.mark.parametrize("answer", [CLIP, REPEATED])
def test_operator_fails_clearly_where_only_sent_clip_comes(
    connect: Any, serve: Any, context: dict[str, Any], ti: Any, slept: list[float], make_operator: Make, answer: bytes
) -> None:
    server = serve(answering(answer))
    connect(server.url)
    with pytest.raises(VideoUrlMissingError):
        make_operator(**MEDIA, wait_for_completion=True).execute_complete(context, CLIP_EVENT)
    assert len(server.requests) == 5
    assert server.posts == 0
    assert "video_task" not in ti.xcoms


def test_operator_takes_result_that_trigger_brings(
    connect: Any, serve: Any, context: dict[str, Any], ti: Any, make_operator: Make
) -> None:
    server = serve(answering(CLIP))
    connect(server.url)
    event = {**CLIP_EVENT, "video_task": {"id": "T", "status": "completed", "video_url": RESULT_URL}}
    assert make_operator(**MEDIA, wait_for_completion=True).execute_complete(context, event) == "T"
    assert ti.xcoms["video_task"]["video_url"] == RESULT_URL
    assert server.requests == []


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("created", [CLIP, REPEATED, http_answer(200, '{"id": "T", "status": "queued"}')])
def test_operator_does_not_end_with_sent_clip(
    connect: Any,
    serve: Any,
    context: dict[str, Any],
    ti: Any,
    slept: list[float],
    make_operator: Make,
    created: bytes,
    deferrable: bool,
) -> None:
    server = serve(answering(created, CLIP, REPEATED, RESULT))
    connect(server.url)
    operator = make_operator(**MEDIA, wait_for_completion=True, deferrable=deferrable)
    if deferrable:
        with pytest.raises(TaskDeferred):
            operator.execute(context)
    else:
        assert operator.execute(context) == "T"
    assert ti.xcoms["video_task"]["video_url"] == (None if deferrable else RESULT_URL)
    assert server.posts == 1


@pytest.mark.parametrize("answer", [CLIP, REPEATED])
def test_operator_does_not_archive_sent_clip(
    connect: Any,
    serve: Any,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    waits: list[float],
    make_operator: Make,
    tmp_path: Any,
    answer: bytes,
) -> None:
    """The trigger brings a result, and what names its fresh URL then names the clip."""
    monkeypatch.setattr(archive, "time", hook_module.time)
    server = serve(answering(answer))
    connect(server.url)
    operator = make_operator(**MEDIA, wait_for_completion=True, destination=str(tmp_path / "video.mp4"))
    event = {**CLIP_EVENT, "video_task": {"id": "T", "status": "completed", "video_url": RESULT_URL}}
    with pytest.raises(VideoUrlMissingError):
        operator.execute_complete(context, event)
    assert list(tmp_path.iterdir()) == []
    assert server.posts == 0


def test_the_connection_test_costs_nothing(connect: Any, sandbox: SandboxClient, hook: DigitalHumanHook) -> None:
    assert hook.test_connection()[0] is True
    works, message = connect(sandbox.base_url, password="another-key-that-is-not-known").test_connection()
    assert (works, "refused the key" in message) == (False, True)
    works, message = connect(sandbox.root_url + "/nowhere", password=KEY).test_connection()
    assert (works, "Base URL" in message) == (False, True)
    ledger = sandbox.ledger()
    assert ledger["posts"] == ledger["charged"] == 0
