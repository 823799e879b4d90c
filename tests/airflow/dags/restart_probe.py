"""Many videos of one run that wait in the triggerer."""

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

VIDEOS = 50

with DAG(
    dag_id="restart_probe",
    schedule=None,
    params={"audio_url": "", "video_url": ""},
    render_template_as_native_obj=True,
):
    CreateDigitalHumanVideoOperator.partial(
        task_id="wait",
        video_url="{{ params.video_url }}",
        wait_for_completion=True,
        deferrable=True,
        timeout=600,
        retries=2,
    ).expand(audio_url=["{{ params.audio_url }}&video=" + f"{number:02}" for number in range(VIDEOS)])
