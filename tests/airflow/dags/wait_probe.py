"""Create and wait, in a worker and in the triggerer, which also ends one of the tasks; else they are the same."""

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

with DAG(
    dag_id="wait_probe",
    schedule=None,
    params={"audio_url": "", "video_url": ""},
    render_template_as_native_obj=True,
):
    for task_id, deferrable, end_from_trigger in (
        ("blocking", False, False),
        ("deferred", True, False),
        ("ended", True, True),
    ):
        CreateDigitalHumanVideoOperator(
            task_id=task_id,
            audio_url="{{ params.audio_url }}&task=" + task_id,
            video_url="{{ params.video_url }}",
            wait_for_completion=True,
            deferrable=deferrable,
            end_from_trigger=end_from_trigger,
            timeout=120,
            retries=2,
            retry_delay=timedelta(seconds=1),
        )
