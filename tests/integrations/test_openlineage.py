"""Lineage through the real OpenLineage provider: what its extractor takes from the operators, as it is sent."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.sdk import BaseOperator
from airflow.utils.state import TaskInstanceState
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.serde import Serde

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive.archiving import ArchivedVideo
from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator
from airflow_provider_digitalhuman.support.lineage import LineageFacts, OpenLineageMixin

AUDIO = "https://user:hush@media.example.com/speech.mp3?X-Signature=topsecret#t"
VIDEO = "https://media.example.com:8443/person.mp4?token=topsecret"
RAW = {"amount": 1.5, "actualDuration": "12", "videoUrl": "https://cdn.example.com/v.mp4?sig=topsecret"}
TASK = VideoTask("v/1", "completed", model="kyy", video_url="https://cdn.example.com/v.mp4?sig=topsecret", raw=RAW)
ARCHIVED = ArchivedVideo("s3://storage@bucket/a/v-1.mp4", 3, "a" * 32, 1.0, "v/1")


class Makes(OpenLineageMixin, BaseOperator):
    """An operator that makes a video, as far as lineage goes."""

    def __init__(self, *, facts: LineageFacts, **kwargs) -> None:
        super().__init__(**kwargs)
        self.facts = facts

    def lineage_facts(self) -> LineageFacts:
        return self.facts


def sent(operator, state=TaskInstanceState.SUCCESS) -> dict:
    """Return the event as it goes over the wire."""
    ti = SimpleNamespace(task=operator, map_index=-1)
    lineage = ExtractorManager().extract_metadata(SimpleNamespace(run_id="r"), operator, state, ti)
    run = Run("0190c6a6-1f6e-7b9e-8a5e-6f3f5f3f5f3f", facets=lineage.run_facets)
    event = RunEvent(
        eventTime="2026-01-01T00:00:00Z",
        eventType=RunState.COMPLETE,
        run=run,
        job=Job("ns", "job", facets=lineage.job_facets),
        inputs=lineage.inputs,
        outputs=lineage.outputs,
        producer="https://example.com",
    )
    text = Serde.to_json(event)
    assert "topsecret" not in text
    assert "hush" not in text
    return json.loads(text)


def names(datasets) -> list[tuple[str, str]]:
    return [(one["namespace"], one["name"]) for one in datasets]


@pytest.mark.parametrize("state", [TaskInstanceState.SUCCESS, TaskInstanceState.FAILED, TaskInstanceState.RUNNING])
def test_a_made_and_archived_video(state):
    facts = LineageFacts((AUDIO, VIDEO), model_version=2, task=TASK, archived=ARCHIVED)
    event = sent(Makes(facts=facts, task_id="make"), state)
    assert names(event["inputs"]) == [
        ("https://media.example.com", "speech.mp3"),
        ("https://media.example.com:8443", "person.mp4"),
    ]
    assert names(event["outputs"]) == [("s3://bucket", "a/v-1.mp4")]
    assert event["outputs"][0]["outputFacets"]["outputStatistics"]["size"] == 3
    facet = event["run"]["facets"]["digitalhuman_video"]
    assert {key: value for key, value in facet.items() if not key.startswith("_")} == {
        "videoTaskId": "v/1",
        "model": "kyy",
        "modelVersion": 2,
        "status": "completed",
        "amount": 1.5,
        "actualDuration": "12",
        "md5": "a" * 32,
    }
    assert event["run"]["facets"]["externalQuery"]["externalQueryId"] == "v/1"


def test_the_making_and_the_archiving_task_are_joined():
    base_url = "https://api.example.com/gateway"
    makes = sent(Makes(facts=LineageFacts((AUDIO, VIDEO), video_task_id="v/1", base_url=base_url), task_id="make"))
    archives = sent(Makes(facts=LineageFacts(task=TASK, archived=ARCHIVED, base_url=base_url), task_id="archive"))
    assert (
        names(makes["outputs"]) == names(archives["inputs"]) == [("https://api.example.com", "gateway/v1/result/v%2F1")]
    )
    assert names(archives["outputs"]) == [("s3://bucket", "a/v-1.mp4")]


def test_before_anything_is_known():
    facts = LineageFacts(("{{ params.audio }}",))
    event = sent(Makes(facts=facts, task_id="make"), TaskInstanceState.RUNNING)
    assert (event["inputs"], event["outputs"], event["run"].get("facets", {})) == ([], [], {})


def test_the_download_operator_s_local_file():
    operator = DownloadDigitalHumanVideoOperator(task_id="d", video_task_id="v/1", destination="/data/")
    assert "digitalhuman_video" in sent(operator, TaskInstanceState.RUNNING)["run"]["facets"]
    hook = SimpleNamespace(settings=SimpleNamespace(base_url="https://api.example.com"))
    local = ArchivedVideo("file:///data/v-1.mp4", 3, "a" * 32, 1.0, "v/1")
    operator._delivery = SimpleNamespace(video_task_id="v/1", task=TASK, archived=local, hook=hook)
    event = sent(operator)
    assert names(event["outputs"]) == [("file", "/data/v-1.mp4")]
    assert names(event["inputs"]) == [("https://api.example.com", "v1/result/v%2F1")]


def test_names_are_those_of_airflow_s_own_asset_converters():
    from airflow.providers.amazon.aws.assets.s3 import convert_asset_to_openlineage as s3
    from airflow.providers.common.io.assets.file import convert_asset_to_openlineage as file
    from airflow.sdk import Asset

    from airflow_provider_digitalhuman.support.openlineage import dataset

    for uri, convert in (("s3://bucket/a/v.mp4", s3), ("file:///data/v.mp4", file)):
        theirs, ours = convert(Asset(uri=uri), None), dataset(uri)
        assert (ours.namespace, ours.name) == (theirs.namespace, theirs.name)


def test_nothing_of_openlineage_is_imported_before_it_is_asked_for():
    code = (
        "import sys, airflow.sdk; before = set(sys.modules)\n"
        "import airflow_provider_digitalhuman.operators.download\n"
        "print([name for name in set(sys.modules) - before if 'openlineage' in name])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().splitlines()[-1] == "[]"
