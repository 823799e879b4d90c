"""As many tasks without a video: what Airflow itself takes."""

import os

from airflow.sdk import DAG

from tests.bench.floor import Floor

VIDEOS = int(os.environ["BENCH_VIDEOS"])
SECONDS = float(os.environ["BENCH_SECONDS"])

for dag_id, calls in (("bench_least", False), ("bench_calls", True)):
    with DAG(dag_id=dag_id, schedule=None, max_active_tasks=1000):
        Floor.partial(task_id="wait", seconds=SECONDS, calls=calls).expand(number=list(range(VIDEOS)))
