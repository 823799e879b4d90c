"""As many tasks without our provider: what Airflow itself takes, and a video made by the least code."""

import os

from airflow.sdk import DAG

from tests.bench.floor import Floor

VIDEOS = int(os.environ["BENCH_VIDEOS"])
SECONDS = float(os.environ["BENCH_SECONDS"])

for dag_id, calls, api in (("bench_least", False, None), ("bench_calls", True, None), ("bench_bare", True, "bench")):
    with DAG(dag_id=dag_id, schedule=None, max_active_tasks=1000):
        Floor.partial(task_id="wait", seconds=SECONDS, calls=calls, api=api).expand(number=list(range(VIDEOS)))
