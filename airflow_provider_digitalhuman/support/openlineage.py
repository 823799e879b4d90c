"""OpenLineage facets of a video. Needs the OpenLineage provider: imported only when that provider asks."""

from typing import Any, Final
from urllib.parse import urlsplit

import attrs
from airflow.providers.common.compat.openlineage.facet import (
    BaseFacet,
    Dataset,
    ExternalQueryRunFacet,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
)
from airflow.providers.openlineage.extractors import OperatorLineage

from airflow_provider_digitalhuman.api.endpoints import result_url
from airflow_provider_digitalhuman.api.urls import web_url
from airflow_provider_digitalhuman.support.lineage_facts import LineageFacts
from airflow_provider_digitalhuman.support.metrics import cost_fields

RUN_FACET: Final = "digitalhuman_video"
"""Name of the run facet."""
EXTERNAL_SOURCE: Final = "DigitalHuman"


@attrs.define
class DigitalHumanVideoRunFacet(RunFacet):
    """The video that a run made or archived.

    :param videoTaskId: the vendor's task ID.
    :param model: the model's name as the vendor echoes it.
    :param modelVersion: what was sent.
    :param status: the vendor's word for the task's state.
    :param amount: what the vendor charged, if it said so.
    :param actualDuration: what the vendor reports under this name, if anything.
    :param md5: MD5 of the archived file.
    """

    videoTaskId: str | None = None
    model: str | None = None
    modelVersion: int | None = None
    status: str | None = None
    amount: float | str | None = None
    actualDuration: float | str | None = None
    md5: str | None = None


def operator_lineage(facts: LineageFacts) -> "OperatorLineage[Any, Any]":
    """Return inputs, outputs and run facets. URLs go without their query strings: a signature is a secret."""
    inputs = [dataset(url) for url in facts.media_urls if web_url(url)]
    outputs = []
    made = _made_by_vendor(facts)
    if facts.archived:
        size = facts.archived.size
        statistics: dict[str, Any] = {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=None, size=size)}
        outputs.append(dataset(facts.archived.uri, statistics))
    if made is not None:
        # Where this task did not make it, it is what the archived file comes from.
        (outputs if facts.media_urls else inputs).append(made)
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets=_run_facets(facts))


def dataset(url: str, output_facets: dict[str, Any] | None = None) -> Dataset:
    """Return ``url`` as a dataset, without user, query string and fragment; named as Airflow's own providers do."""
    from openlineage.client.event_v2 import OutputDataset

    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    if parts.scheme in ("file", "local"):
        namespace, name = (f"file://{place}" if place else "file"), parts.path
    else:
        namespace, name = f"{parts.scheme}://{place}", parts.path.lstrip("/") or "/"
    if output_facets:
        return OutputDataset(namespace=namespace, name=name, outputFacets=output_facets)
    return Dataset(namespace=namespace, name=name)


def _made_by_vendor(facts: LineageFacts) -> Dataset | None:
    video_task_id = _task_id(facts)
    if not facts.base_url or not video_task_id:
        return None
    return dataset(result_url(facts.base_url, video_task_id))


def _run_facets(facts: LineageFacts) -> dict[str, BaseFacet]:
    video_task_id = _task_id(facts)
    version = str(facts.model_version) if facts.model_version is not None else ""
    task, costs = facts.task, cost_fields(facts.task) if facts.task else {}
    if not video_task_id and task is None:
        return {}
    facets: dict[str, BaseFacet] = {
        RUN_FACET: DigitalHumanVideoRunFacet(
            videoTaskId=video_task_id,
            model=task.model if task else None,
            modelVersion=int(version) if version.isdigit() else None,
            status=task.status if task else None,
            amount=costs.get("amount"),
            actualDuration=costs.get("actual_duration"),
            md5=facts.archived.md5 if facts.archived else None,
        )
    }
    if video_task_id:
        facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=video_task_id, source=EXTERNAL_SOURCE)
    return facets


def _task_id(facts: LineageFacts) -> str | None:
    return facts.task.id if facts.task else facts.video_task_id
