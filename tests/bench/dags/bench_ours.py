"""The same videos, made and waited for: by our operator in one task each, which a worker or the triggerer ends."""

import os

from airflow.sdk import DAG

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator

VIDEOS = int(os.environ["BENCH_VIDEOS"])

for dag_id, end_from_trigger in (("bench_ours", False), ("bench_ended", True)):
    with DAG(dag_id=dag_id, schedule=None, max_active_tasks=1000):
        CreateDigitalHumanVideoOperator.partial(
            task_id="create",
            digitalhuman_conn_id="bench",
            audio_url="https://media.example.com/a.mp3",
            wait_for_completion=True,
            deferrable=True,
            end_from_trigger=end_from_trigger,
            timeout=900,
        ).expand(video_url=[f"https://media.example.com/{number}.mp4" for number in range(VIDEOS)])
