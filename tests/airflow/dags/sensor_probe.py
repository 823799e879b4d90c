"""The sensor in each way to wait, after a task that only submits; `video=` in the URL tells the videos apart."""

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor

WAYS = {
    "poke": {"mode": "poke", "poke_interval": 1},
    "reschedule": {"mode": "reschedule", "poke_interval": 10},
    "deferrable": {"deferrable": True},
    "triggered": {"deferrable": True, "start_from_trigger": True},
}
MAPPED = ("mapped-0", "mapped-1")

with DAG(
    dag_id="sensor_probe",
    schedule=None,
    params={"audio_url": "", "video_url": ""},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
):
    for way, how in WAYS.items():
        create = CreateDigitalHumanVideoOperator(
            task_id=f"create_{way}",
            audio_url="{{ params.audio_url }}&video=" + way,
            video_url="{{ params.video_url }}",
            wait_for_completion=False,
        )
        DigitalHumanVideoSensor(task_id=way, video_task_id=create.output, timeout=120, **how)

    creates = CreateDigitalHumanVideoOperator.partial(
        task_id="create_mapped", video_url="{{ params.video_url }}", wait_for_completion=False
    ).expand(audio_url=["{{ params.audio_url }}&video=" + name for name in MAPPED])
    DigitalHumanVideoSensor.partial(task_id="mapped", timeout=120, **WAYS["triggered"]).expand(
        video_task_id=creates.output
    )
