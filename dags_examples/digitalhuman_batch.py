"""Hundreds of videos from a manifest: one mapped task instance each, and a report of what is missing.

`max_active_tis_per_dag` holds the number of videos in the making at the vendor, on Airflow 3.3 also while they wait in
the triggerer; below, only a pool with `include_deferred` does that. One failed video does not stop the others. To make
only the missing ones, clear the failed instances of `create_video`: what was paid for is not paid for again.
"""

import json
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

AUDIO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_AUDIO_URL", "https://media.example.com/speech.wav")
VIDEO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_VIDEO_URL", "https://media.example.com/presenter.mp4")
ARCHIVE = os.environ.get("DIGITALHUMAN_ARCHIVE", str(Path(tempfile.gettempdir()) / "digitalhuman"))
MANIFEST = [{"audio_url": AUDIO_URL, "video_url": VIDEO_URL}, {"audio_url": AUDIO_URL, "video_url": VIDEO_URL}]

with DAG(
    dag_id="digitalhuman_batch",
    schedule=None,
    params={
        "manifest": Param(MANIFEST, type="array", title="Manifest", description="audio_url and video_url of each video")
    },
    render_template_as_native_obj=True,
    doc_md=__doc__,
    tags=["digitalhuman"],
):

    @task
    def read_manifest(params: dict[str, Any]) -> list[dict[str, str]]:
        """Stand-in for a manifest of your own: a file, a table, an API."""
        return [{"audio_url": row["audio_url"], "video_url": row["video_url"]} for row in params["manifest"]]

    manifest = read_manifest()
    create_video = CreateDigitalHumanVideoOperator.partial(
        task_id="create_video",
        wait_for_completion=True,
        deferrable=True,
        destination=ARCHIVE + "/batch/",
        retries=3,
        retry_delay=timedelta(seconds=30),
        max_active_tis_per_dag=50,
    ).expand_kwargs(manifest)

    @task(trigger_rule="all_done")
    def report(wanted: list[dict[str, str]], ti: Any = None) -> dict[str, int]:
        """Count what was archived; the run fails if a video is missing, so that nobody overlooks it."""
        indexes = list(range(len(wanted)))
        made = [one for one in ti.xcom_pull(task_ids="create_video", key="archive", map_indexes=indexes) if one]
        print(json.dumps({"wanted": len(wanted), "archived": len(made)}))
        if len(made) < len(wanted):
            raise RuntimeError(f"{len(wanted) - len(made)} of {len(wanted)} videos are missing: clear create_video.")
        return {"wanted": len(wanted), "archived": len(made)}

    create_video >> report(manifest)
