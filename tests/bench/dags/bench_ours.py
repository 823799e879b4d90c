"""The same videos, made and waited for: by our operator in one task each."""

import os

from airflow.sdk import DAG

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

VIDEOS = int(os.environ["BENCH_VIDEOS"])

with DAG(dag_id="bench_ours", schedule=None, max_active_tasks=1000):
    CreateDigitalHumanVideoOperator.partial(
        task_id="create",
        digitalhuman_conn_id="bench",
        audio_url="https://media.example.com/a.mp3",
        wait_for_completion=True,
        deferrable=True,
        timeout=900,
    ).expand(video_url=[f"https://media.example.com/{number}.mp4" for number in range(VIDEOS)])
