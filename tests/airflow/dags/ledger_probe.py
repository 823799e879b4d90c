"""A submission with retries, for the tests of the ledger; `match` keeps the sandbox's faults apart."""

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator


def fails_at_first(context: Any, result: Any) -> None:
    """What Airflow calls after ``execute``, and before it knows of the success."""
    if context["ti"].try_number == 1:
        raise RuntimeError("behind the return")


with DAG(dag_id="ledger_probe", schedule=None, params={"audio_url": "", "video_url": ""}):
    CreateDigitalHumanVideoOperator(
        task_id="create_video",
        audio_url="{{ params.audio_url }}",
        video_url="{{ params.video_url }}",
        retries=3,
        retry_delay=timedelta(seconds=1),
    )

with DAG(dag_id="ledger_probe_behind", schedule=None, params={"audio_url": "", "video_url": ""}):
    CreateDigitalHumanVideoOperator(
        task_id="create_video",
        audio_url="{{ params.audio_url }}",
        video_url="{{ params.video_url }}",
        post_execute=fails_at_first,
    )


class SpeakingOperator(CreateDigitalHumanVideoOperator):
    """What users write: a class and a name of their own."""

    custom_operator_name = "Speech"


with DAG(dag_id="ledger_probe_mapped", schedule=None, params={"audio_url": "", "video_url": ""}):
    SpeakingOperator.partial(task_id="create_video", video_url="{{ params.video_url }}").expand(
        audio_url=["{{ params.audio_url }}-0", "{{ params.audio_url }}-1"]
    ) >> EmptyOperator(task_id="behind")
