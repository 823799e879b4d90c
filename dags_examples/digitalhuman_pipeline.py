"""The whole job in one task: submit, wait without a worker slot, archive; then publish what was archived.

`create_video` pays at most once, whatever dies. When the file lies in the archive, verified, its asset event starts
`digitalhuman_publish`. `DIGITALHUMAN_ARCHIVE` can be any path or URI that `ObjectStoragePath` takes, such as `s3://…`.
"""

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, AssetAlias, Param, task

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

AUDIO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_AUDIO_URL", "https://media.example.com/speech.wav")
VIDEO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_VIDEO_URL", "https://media.example.com/presenter.mp4")
ARCHIVE = os.environ.get("DIGITALHUMAN_ARCHIVE", str(Path(tempfile.gettempdir()) / "digitalhuman"))

# An alias, because the file's name is only known when the video is made.
archived_videos = AssetAlias("digitalhuman_videos")

with DAG(
    dag_id="digitalhuman_pipeline",
    schedule=None,
    params={
        "audio_url": Param(AUDIO_URL, type="string", format="uri", title="Speech"),
        "video_url": Param(VIDEO_URL, type="string", format="uri", title="Presenter"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["digitalhuman"],
):
    CreateDigitalHumanVideoOperator(
        task_id="create_video",
        audio_url="{{ params.audio_url }}",
        video_url="{{ params.video_url }}",
        check_media=True,
        wait_for_completion=True,
        deferrable=True,
        destination=ARCHIVE + "/{created:%Y-%m-%d}/{video_task_id}.mp4",
        outlets=[archived_videos],
    )

with DAG(
    dag_id="digitalhuman_publish",
    schedule=[archived_videos],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    tags=["digitalhuman"],
):

    @task
    def publish(**context: object) -> list[str]:
        """Stand-in for your own publishing step: name the videos that have come."""
        events = context.get("triggering_asset_events") or context.get("triggering_dataset_events") or {}
        uris = [event.extra["uri"] for of_asset in events.values() for event in of_asset if "uri" in event.extra]
        paths = list(dict.fromkeys(uris))  # Airflow 3 lists an event under its asset and again under the alias
        for path in paths:
            print(f"Publishing {path}")
        return paths

    publish()
