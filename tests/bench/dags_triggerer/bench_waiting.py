"""Tasks that start in the triggerer, without a worker slot, and wait for a video each: by ours or http's trigger."""

import os
from datetime import timedelta

from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG
from airflow.triggers.base import StartTriggerArgs

from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor

PEER = os.environ["BENCH_PEER"]
CONN_ID = os.environ["BENCH_CONN_ID"]
VIDEOS = int(os.environ["BENCH_VIDEOS"])
TASKS = int(os.environ["BENCH_TASKS"])
INTERVAL = 5
TIMEOUT = 3600


def ours(number: int) -> None:
    DigitalHumanVideoSensor(
        task_id=f"wait_{number}",
        digitalhuman_conn_id=CONN_ID,
        video_task_id=str(number),
        deferrable=True,
        start_from_trigger=True,
        poke_interval=INTERVAL,
        timeout=TIMEOUT,
    )


def http(number: int) -> None:
    sensor = HttpSensor(
        task_id=f"wait_{number}",
        http_conn_id=CONN_ID,
        endpoint=f"wait/{number}",
        deferrable=True,
        poke_interval=INTERVAL,
        timeout=TIMEOUT,
    )
    # It has no start_from_trigger of its own. The trigger is the one that its ``execute`` defers to, with all arguments
    # the same, so that what runs in the triggerer is what would run there after a first poke in a worker.
    sensor.start_trigger_args = StartTriggerArgs(
        trigger_cls="airflow.providers.http.triggers.http.HttpSensorTrigger",
        trigger_kwargs={
            "endpoint": sensor.endpoint,
            "http_conn_id": sensor.http_conn_id,
            "data": sensor.request_params,
            "headers": sensor.headers,
            "method": sensor.method,
            "extra_options": sensor.extra_options,
            "poke_interval": sensor.poke_interval,
        },
        next_method="execute_complete",
        timeout=timedelta(seconds=TIMEOUT),
    )
    sensor.start_from_trigger = True


for first in range(0, VIDEOS, TASKS):
    with DAG(dag_id=f"bench_waiting_{first}", schedule=None):
        for number in range(first, min(first + TASKS, VIDEOS)):
            {"ours": ours, "http": http}[PEER](number)
