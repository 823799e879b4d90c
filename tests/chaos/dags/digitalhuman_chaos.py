"""One DAG for each way to wait. A run's conf is a list of videos, each with its plan; each becomes a mapped task."""

import inspect
from datetime import timedelta

import chaos_steps
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

chaos_steps.install()

WAYS = {"chaos_create": {}}
if "wait_for_completion" in inspect.signature(CreateDigitalHumanVideoOperator.__init__).parameters:
    WAITING = {"wait_for_completion": True, "poll_interval": 2, "timeout": 600}
    WAYS["chaos_blocking"] = {**WAITING, "deferrable": False}
    WAYS["chaos_deferred"] = {**WAITING, "deferrable": True}


@task(retries=3, retry_delay=timedelta(seconds=1))
def clips(dag_run=None):
    return [video["video_url"] for video in dag_run.conf["videos"]]


for dag_id, way in WAYS.items():
    with DAG(
        dag_id=dag_id,
        schedule=None,
        max_active_runs=200,
        max_active_tasks=200,
        user_defined_macros={"of_try": chaos_steps.of_try},
    ) as dag:
        CreateDigitalHumanVideoOperator.partial(
            task_id="make_video",
            audio_url="{{ of_try('audio_url', dag_run, ti) }}",
            digitalhuman_conn_id="digitalhuman_{{ of_try('connection', dag_run, ti) }}",
            retries=3,
            retry_delay=timedelta(seconds=1),
            **way,
        ).expand(video_url=clips())
    globals()[dag_id] = dag
