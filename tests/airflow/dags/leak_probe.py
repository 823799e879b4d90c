"""Drives a submission into failures whose messages and tracebacks must not hold the key."""

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

with DAG(dag_id="leak_probe", schedule=None, params={"audio_url": "", "video_url": ""}):
    CreateDigitalHumanVideoOperator(
        task_id="create_video", audio_url="{{ params.audio_url }}", video_url="{{ params.video_url }}"
    )
