"""The same videos, made and waited for: by ``HttpOperator`` and a deferrable ``HttpSensor``."""

import os
from datetime import timedelta

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG

VIDEOS = int(os.environ["BENCH_VIDEOS"])
BODY = '{"audio_url": "https://media.example.com/a.mp3", "video_url": "https://media.example.com/v.mp4"}'

with DAG(dag_id="bench_pair", schedule=None, max_active_tasks=1000):
    create = HttpOperator.partial(
        task_id="create",
        http_conn_id="bench_http",
        endpoint="v1/digitalHuman/videos",
        headers={"Content-Type": "application/json"},
        response_filter=lambda answer: "wait/" + answer.json()["id"],
    ).expand(data=[BODY] * VIDEOS)
    HttpSensor.partial(
        task_id="wait",
        http_conn_id="bench_http",
        deferrable=True,
        poke_interval=5,
        timeout=900,
        retries=2,  # Airflow 3.3 fails one now and then that is woken up at once
        retry_delay=timedelta(seconds=5),
    ).expand(endpoint=create.output)
