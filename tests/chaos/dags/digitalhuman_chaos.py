"""One DAG for each way to submit. A run's conf is a list of videos, each with its plan; each becomes a mapped task."""

from datetime import timedelta

import chaos_steps
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

try:
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
except ImportError:  # 2.11
    from airflow.operators.trigger_dagrun import TriggerDagRunOperator

chaos_steps.install()

WAITING = {"wait_for_completion": True, "poll_interval": 2, "timeout": 600}
WAYS = {
    "chaos_create": {},
    "chaos_blocking": {**WAITING, "deferrable": False},
    "chaos_deferred": {**WAITING, "deferrable": True},
    "chaos_once": {"retries": 0},
    chaos_steps.KEEPS_COPY: {"retries": 0},
}
BOTH = {
    "task_id": "make_video",
    "audio_url": "{{ of_try('audio_url', dag_run, ti) }}",
    "digitalhuman_conn_id": "digitalhuman_{{ of_try('connection', dag_run, ti) }}",
}
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=1)}


def new_dag(dag_id):
    return DAG(
        dag_id=dag_id,
        schedule=None,
        max_active_runs=200,
        max_active_tasks=200,
        user_defined_macros={"of_try": chaos_steps.of_try},
    )


@task(**RETRIES)
def clips(dag_run=None):
    return [video["video_url"] for video in dag_run.conf["videos"]]


for dag_id, way in WAYS.items():
    with new_dag(dag_id) as dag:
        CreateDigitalHumanVideoOperator.partial(**BOTH, **{**RETRIES, **way}).expand(video_url=clips())
    globals()[dag_id] = dag

with new_dag("chaos_unmapped") as unmapped:
    CreateDigitalHumanVideoOperator(**BOTH, **RETRIES, video_url="{{ dag_run.conf['videos'][0]['video_url'] }}")

with new_dag("chaos_reset") as reset:
    # Deferrable, as 2.11 runs one task at a time on SQLite.
    TriggerDagRunOperator(
        task_id="reset",
        trigger_dag_id="chaos_create",
        trigger_run_id="{{ dag_run.conf['run_id'] }}",
        conf="{{ dag_run.conf['conf'] | tojson }}",
        reset_dag_run=True,
        wait_for_completion=True,
        deferrable=True,
        poke_interval=2,
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
