"""The operator that archives a video, against the sandbox: every download fault of the contract, and what it tells."""

import hashlib
import json
import time
import urllib.request
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset, AssetAlias

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.exceptions import DownloadError, InvalidRequestError
from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sandbox.testing import running_sandbox
from airflow_provider_digitalhuman.support import metrics
from airflow_provider_digitalhuman.support.compat import AIRFLOW

if AIRFLOW >= (3, 0):
    from airflow.sdk.execution_time.context import OutletEventAccessors
else:
    from airflow.utils.context import OutletEventAccessors


PATIENCE = 60.0


@pytest.fixture(scope="module")
def running():
    with running_sandbox(processing_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    yield running
    running.clear_faults()


@pytest.fixture
def video_task_id(sandbox, connect) -> str:
    hook = connect(sandbox.base_url, password=sandbox.api_key)
    request = VideoRequest(audio_url=sandbox.sample_audio_url, video_url=sandbox.sample_video_url)
    task = hook.create_video(request)
    deadline = time.monotonic() + PATIENCE
    while not hook.get_video(task.id).is_completed:
        assert time.monotonic() < deadline, "the sandbox has not made the video"
        time.sleep(0.02)
    return task.id


@pytest.fixture
def sent(monkeypatch) -> dict[str, object]:
    """What went to Airflow's metrics, with the tags."""
    from airflow.providers.common.compat import sdk

    kept: dict[str, object] = {}

    class Stats:
        @staticmethod
        def keep(name, value=1, *, tags):
            kept[name] = (value, tags)

        incr = gauge = timing = keep

    monkeypatch.setattr(sdk, "Stats", Stats)
    return kept


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(archive, "BACKOFF", (0.01, 0.02, 0.03, 0.04))
    monkeypatch.setattr(archive, "URL_BACKOFF", (0.01, 0.01))


@pytest.fixture
def download(context, tmp_path, video_task_id):
    context["outlet_events"] = OutletEventAccessors()

    def run(**arguments):
        fields = {"task_id": "download", "video_task_id": video_task_id, "destination": f"{tmp_path}/out/"}
        return DownloadDigitalHumanVideoOperator(**(fields | arguments)).execute(context)

    return run


def files(folder) -> list[str]:
    return [one.name for one in folder.rglob("*") if one.is_file()]


def test_a_video_is_stored_and_told(download, ti, video_task_id, tmp_path, sent, sandbox):
    path = download()
    stored = tmp_path / "out" / f"{video_task_id}.mp4"
    assert path == f"file://{stored}"
    content = stored.read_bytes()
    seconds = ti.xcoms["archive"]["seconds"]
    assert ti.xcoms["archive"] == {
        "path": path,
        "size": len(content),
        "md5": hashlib.md5(content).hexdigest(),
        "seconds": seconds,
        "video_task_id": video_task_id,
        "already_there": False,
    }
    assert ti.xcoms["metrics"]["outcome"] == "success"
    assert ti.xcoms["metrics"]["try_number"] == ti.try_number
    assert ti.xcoms["metrics"]["transfer_seconds"] == seconds
    assert sent["digitalhuman.downloads.success"][1]["try_number"] == str(ti.try_number)
    assert sent["digitalhuman.transfer"][0].total_seconds() == pytest.approx(seconds)
    assert sent["digitalhuman.size"][0] == len(content)
    told = json.dumps(ti.xcoms)
    assert "http://" not in told
    assert sandbox.ledger()["key_leaked_to_files"] == 0


def test_a_second_run_finds_the_file(download, ti, sandbox):
    first = download()
    before = sandbox.ledger()["downloads"]
    assert download() == first
    assert ti.xcoms["archive"]["already_there"]
    assert ti.xcoms["metrics"]["transfer_seconds"] == 0
    assert sandbox.ledger()["downloads"] == before


@pytest.mark.parametrize(
    "faults",
    [
        [{"on": "download", "fault": "cut_off"}],
        [{"on": "download", "fault": "cut_off", "how": "reset"}],
        [{"on": "download", "fault": "cut_off", "bytes": 1000}, {"on": "download", "fault": "no_range"}],
        [{"on": "download", "fault": "reset"}, {"on": "download", "fault": "close"}],
        [{"on": "download", "fault": "http_status", "status": 503, "retry_after": "0"}],
        [{"on": "download", "fault": "rate_limited", "retry_after": "0"}],
        [{"on": "download", "fault": "redirect"}],
        [{"on": "download", "fault": "http_status", "status": 403}],
        [{"on": "download", "fault": "http_status", "status": 404}],
        [{"on": "download", "fault": "http_status", "status": 410}],
        [{"on": "query", "fault": "expired_url"}],
        [{"on": "query", "fault": "completed_without_url"}],
        [{"on": "query", "fault": "url_field"}],
        [{"on": "download", "fault": "html_page"}],
        [{"on": "download", "fault": "empty_answer"}],
        [{"on": "download", "fault": "spring_error"}],
        [{"on": "download", "fault": "wrong_bytes"}],
        [{"on": "query", "fault": "md5", "form": "wrong"}],
        [{"on": "query", "fault": "md5", "form": "uppercase"}],
        [{"on": "query", "fault": "md5", "form": "missing"}],
        [{"on": "query", "fault": "md5", "form": "malformed"}],
        [{"on": "download", "fault": "wrong_content_length", "delta": 1000}],
        [{"on": "download", "fault": "wrong_content_length", "delta": -1000}],
        [{"on": "download", "fault": "no_content_length"}],
        [{"on": "download", "fault": "slow", "seconds": 1}],
    ],
    ids=lambda faults: "+".join(f"{one['fault']}" for one in faults),
)
def test_a_fault_that_passes_does_not_matter(download, sandbox, ti, tmp_path, faults):
    clean = json.loads(json.dumps(sandbox.ledger()))
    for fault in faults:
        sandbox.add_fault(**fault)
    path = download()
    [name] = files(tmp_path)
    content = (tmp_path / "out" / name).read_bytes()
    assert path.endswith(name)
    assert hashlib.md5(content).hexdigest() == ti.xcoms["archive"]["md5"]
    assert content[4:8] == b"ftyp"
    assert sandbox.ledger()["key_leaked_to_files"] == 0
    assert len(sandbox.ledger()["tasks"]) == len(clean["tasks"])  # nothing was submitted again


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"on": "download", "fault": "cut_off", "bytes": 10}, "broken off"),
        ({"on": "download", "fault": "http_status", "status": 403}, "HTTP 403"),
        ({"on": "download", "fault": "html_page"}, "not a video"),
        ({"on": "query", "fault": "md5", "form": "wrong"}, "MD5"),
        ({"on": "download", "fault": "wrong_bytes"}, "MD5"),
    ],
)
def test_a_fault_that_stays_is_told_and_leaves_nothing(download, sandbox, ti, tmp_path, sent, fault, says):
    sandbox.add_fault(times=None, **fault)
    with pytest.raises(DownloadError, match=says) as failed:
        download()
    assert files(tmp_path) == []
    assert "archive" not in ti.xcoms
    assert (ti.xcoms["metrics"]["outcome"], ti.xcoms["metrics"]["size"]) == ("failed", None)
    assert "digitalhuman.downloads.failed" in sent
    assert "?" not in str(failed.value)
    sandbox.clear_faults()
    download()
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("fault", ["unauthorized", "unknown_id"])
def test_a_refused_query_for_the_fresh_url_is_worth_a_retry(download, sandbox, waits, fault):
    sandbox.add_fault(on="query", fault=fault, times=None)
    with pytest.raises(DownloadError, match="no fresh URL"):
        download()
    sandbox.clear_faults()
    assert download()


def test_what_no_retry_can_mend_ends_the_retries(download, tmp_path):
    (tmp_path / "mine.mp4").write_bytes(b"precious")
    with pytest.raises(AirflowFailException, match="overwrite=True"):
        download(destination=f"{tmp_path}/mine.mp4")
    with pytest.raises(AirflowFailException, match="max_bytes=10"):
        download(max_bytes=10)
    with pytest.raises(AirflowFailException, match="is no task ID"):
        download(video_task_id="None")


# Assets


def test_an_asset_among_the_outlets_gets_the_facts(download, context, ti):
    asset = Asset(uri="s3://bucket/videos")
    path = download(outlets=[asset])
    extra = context["outlet_events"][asset].extra
    assert extra == {key: ti.xcoms["archive"][key] for key in ("md5", "size")} | {
        "id": ti.xcoms["archive"]["video_task_id"],
        "uri": path,
    }


def test_an_alias_gets_the_file_as_an_asset(download, context, ti):
    alias = AssetAlias(name="videos")
    path = download(outlets=[alias])
    accessor = context["outlet_events"][alias]
    [event] = accessor.asset_alias_events if AIRFLOW >= (3, 0) else accessor.dataset_alias_events
    uri = event.dest_asset_key.uri if AIRFLOW >= (3, 0) else event["dest_dataset_uri"]
    assert uri == path
    extra = event.extra if AIRFLOW >= (3, 0) else event["extra"]
    assert extra["md5"] == ti.xcoms["archive"]["md5"]


def test_an_asset_s_uri_is_ascii_whatever_the_destination(download, context, tmp_path):
    alias = AssetAlias(name="videos")
    path = download(destination=f"{tmp_path}/视频 1/", outlets=[alias])
    assert "/视频 1/" in path
    accessor = context["outlet_events"][alias]
    [event] = accessor.asset_alias_events if AIRFLOW >= (3, 0) else accessor.dataset_alias_events
    uri = event.dest_asset_key.uri if AIRFLOW >= (3, 0) else event["dest_dataset_uri"]
    extra = event.extra if AIRFLOW >= (3, 0) else event["extra"]
    assert uri.isascii()
    assert unquote(uri) == extra["uri"] == path


def test_what_is_not_verified_is_not_announced(download, sandbox, context):
    sandbox.add_fault(on="download", fault="wrong_bytes", times=None)
    asset, alias = Asset(uri="s3://bucket/videos"), AssetAlias(name="videos")
    with pytest.raises(DownloadError):
        download(outlets=[asset, alias])
    assert len(context["outlet_events"]) == 0


# Arguments


def test_jinja_and_the_task_s_own_fields_do_not_collide(download, context, tmp_path, video_task_id, ti):
    context |= {"ds": "2026-01-02", "params": {"id": video_task_id}}
    operator = DownloadDigitalHumanVideoOperator(
        task_id="download",
        video_task_id="{{ params.id }}",
        destination=str(tmp_path) + "/{{ ds }}/{created:%Y}/{model}-{video_task_id}.mp4",
    )
    operator.render_template_fields(context)
    path = operator.execute(context)
    created = urllib.request.url2pathname(path).split("/")[-2]
    assert path.startswith(f"file://{tmp_path}/2026-01-02/{created}/")
    assert path.endswith(f"-{video_task_id}.mp4")
    assert created.isdigit()


@pytest.mark.parametrize("destination", ["s3://b/{id}.mp4", "relative/path.mp4", ""])
def test_a_bad_literal_is_refused_when_the_dag_is_parsed(destination):
    with pytest.raises(InvalidRequestError, match="destination="):
        DownloadDigitalHumanVideoOperator(task_id="d", video_task_id="v", destination=destination)


@pytest.mark.parametrize("max_bytes", [0, -1, "10", True])
def test_a_bad_ceiling_is_refused_when_the_dag_is_parsed(max_bytes):
    with pytest.raises(InvalidRequestError, match="max_bytes="):
        DownloadDigitalHumanVideoOperator(task_id="d", video_task_id="v", destination="/d/", max_bytes=max_bytes)


def test_a_bad_template_is_refused_before_any_byte(download, sandbox):
    before = sandbox.ledger()["downloads"]
    with pytest.raises(AirflowFailException, match=r"there is no \{ds\}"):
        download(destination="/d/{ds}{{ '' }}/")
    assert sandbox.ledger()["downloads"] == before


# Metrics


def test_what_the_vendor_reports_of_cost_is_kept(context, sent):
    from airflow_provider_digitalhuman.api.response import VideoTask

    raw = {"amount": "1.50", "actualDuration": 12}
    task = VideoTask(id="v", status="failed", model="m", raw=raw)
    context["ti"].try_number = 3
    metrics.report(context["ti"], metrics.video_metrics(3, "failed", task, queue_seconds=4.0))
    kept = context["ti"].xcoms["metrics"]
    assert (kept["amount"], kept["actual_duration"], kept["status"], kept["try_number"]) == ("1.50", 12, "failed", 3)
    assert kept["processing_seconds"] is None
    assert sent["digitalhuman.amount"][0] == 1.5
    assert sent["digitalhuman.queue"][0].total_seconds() == 4
    assert sent["digitalhuman.queue"][1] == {
        "dag_id": "dag",
        "task_id": "create",
        "try_number": "3",
        "status": "failed",
        "outcome": "failed",
    }


@pytest.mark.parametrize("amount", ["free", True, None, [], {"yuan": 1}, float("nan"), "1e999", ""])
def test_costs_in_no_known_form_break_nothing(context, sent, amount):
    from airflow_provider_digitalhuman.api.response import VideoTask

    metrics.report(
        context["ti"], metrics.video_metrics(1, "success", VideoTask("v", "completed", raw={"amount": amount}))
    )
    assert "digitalhuman.videos.success" in sent
    assert "digitalhuman.amount" not in sent


def test_trouble_with_metrics_does_not_fail_the_task(context, monkeypatch):
    monkeypatch.setattr(metrics, "_send", lambda *_: 1 / 0)
    metrics.report(context["ti"], metrics.video_metrics(1, "success"))
    assert context["ti"].xcoms["metrics"]["outcome"] == "success"


def test_the_real_metrics_take_it(context):
    metrics._send(metrics.video_metrics(1, "success", size=3, transfer_seconds=1.5), context["ti"], "videos")
