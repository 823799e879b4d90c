"""Submit one lip-sync video, then use its task ID in the next task.

The connection `digitalhuman_default` holds the API key; the two URLs can be set when the DAG is triggered.
"""

import os

# On Airflow 3 alone, `from airflow.sdk import …` does the same; this import works on 2.11, too.
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

# Put URLs of your own here. `make up` sets the two variables to the sandbox's samples.
AUDIO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_AUDIO_URL", "https://media.example.com/speech.wav")
VIDEO_URL = os.environ.get("DIGITALHUMAN_SAMPLE_VIDEO_URL", "https://media.example.com/presenter.mp4")

with DAG(
    dag_id="digitalhuman_minimal",
    schedule=None,
    params={
        "audio_url": Param(AUDIO_URL, type="string", format="uri", title="Speech", description="Sound to be spoken"),
        "video_url": Param(
            VIDEO_URL, type="string", format="uri", title="Presenter", description="Clip of the speaker"
        ),
    },
    doc_md=__doc__,
    tags=["digitalhuman"],
):
    create_video = CreateDigitalHumanVideoOperator(
        task_id="create_video",
        audio_url="{{ params.audio_url }}",
        video_url="{{ params.video_url }}",
    )

    @task
    def report_status(video_task_id: str) -> str:
        """Ask for the video by the ID that `create_video` left in XCom."""
        with DigitalHumanHook() as hook:
            video = hook.get_video(video_task_id)
        print(f"Video {video.id} is {video.status}.")
        return str(video.status)

    report_status(create_video.output)
