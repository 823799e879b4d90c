"""The same videos, made and waited for: by ``HttpOperator`` and a deferrable ``HttpSensor``.

Both in one mapped group: each sensor follows its own create, and does not wait until all of them are through.
"""

import os
from datetime import timedelta

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, task_group

VIDEOS = int(os.environ["BENCH_VIDEOS"])
BODY = '{"audio_url": "https://media.example.com/a.mp3", "video_url": "https://media.example.com/v.mp4"}'


@task_group
def video(data: str) -> None:
    """Make one, and wait for it."""
    create = HttpOperator(
        task_id="create",
        http_conn_id="bench_http",
        endpoint="v1/digitalHuman/videos",
        headers={"Content-Type": "application/json"},
        data=data,
        response_filter=lambda answer: "wait/" + answer.json()["id"],
    )
    HttpSensor(
        task_id="wait",
        http_conn_id="bench_http",
        endpoint=create.output,
        deferrable=True,
        poke_interval=5,
        timeout=900,
        retries=2,  # Airflow 3.3 fails one now and then that is woken up at once
        retry_delay=timedelta(seconds=5),
    )


with DAG(dag_id="bench_pair", schedule=None, max_active_tasks=1000):
    video.expand(data=[BODY] * VIDEOS)
