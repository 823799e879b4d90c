"""Submit, wait and archive as three tasks: each can be retried, cleared and watched by itself.

The video task ID goes from task to task as an XCom, so this also suits a video that something else has submitted.
"""

import os
import tempfile
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_digitalhuman.operators.digitalhuman import (
    CreateDigitalHumanVideoOperator,
    DownloadDigitalHumanVideoOperator,
)
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor

AUDIO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_AUDIO_URL", "https://media.example.com/speech.wav")
VIDEO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_VIDEO_URL", "https://media.example.com/presenter.mp4")
ARCHIVE = os.environ.get("DIGITALHUMAN_ARCHIVE", str(Path(tempfile.gettempdir()) / "digitalhuman"))

with DAG(
    dag_id="digitalhuman_sensor",
    schedule=None,
    params={
        "audio_url": Param(AUDIO_URL, type="string", format="uri", title="Speech"),
        "video_url": Param(VIDEO_URL, type="string", format="uri", title="Presenter"),
    },
    doc_md=__doc__,
    tags=["digitalhuman"],
):
    create_video = CreateDigitalHumanVideoOperator(
        task_id="create_video", audio_url="{{ params.audio_url }}", video_url="{{ params.video_url }}"
    )
    wait_for_video = DigitalHumanVideoSensor(
        task_id="wait_for_video", video_task_id=create_video.output, deferrable=True, timeout=3600
    )
    archive_video = DownloadDigitalHumanVideoOperator(
        task_id="archive_video", video_task_id=create_video.output, destination=ARCHIVE + "/"
    )
    wait_for_video >> archive_video
