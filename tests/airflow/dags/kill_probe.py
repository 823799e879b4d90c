"""Videos whose first transfer ends with the death of the task's process, when half of the file has been written.

What a try finds in its part of the archive is noted beside it, by the process itself: nobody else knows the moment.
"""

import functools
import json
import os
import signal
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, AssetAlias

from airflow_provider_digitalhuman.archive.local_file import LocalSink
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator


def die_in_first_transfer(context):
    """Stand in for the first write, in this process only; Airflow calls this before each of a task's processes works.

    The death is one by SIGKILL: no `finally`, no `__exit__` and no signal handler gets to tidy up.
    """
    write = LocalSink._write

    @functools.wraps(write)
    def first_write(self, data):
        LocalSink._write = write
        _note("before the first write", context)
        if context["ti"].try_number > 1:
            return write(self, data)
        write(self, data[: len(data) // 2])
        _note("half written", context)
        os.kill(os.getpid(), signal.SIGKILL)

    LocalSink._write = first_write


def _note(moment, context):
    ti, archive = context["ti"], Path(context["params"]["archive"])
    folder = archive / ti.task_id
    found = {file.name: file.stat().st_size for file in folder.iterdir()} if folder.exists() else {}
    with (archive / f"{ti.task_id}.notes").open("a") as notes:
        notes.write(json.dumps([ti.try_number, moment, found]) + "\n")


with DAG(dag_id="kill_probe", schedule=None, params={"audio_url": "", "video_url": "", "archive": ""}):
    for task_id, deferrable in (("blocking", False), ("deferred", True)):
        CreateDigitalHumanVideoOperator(
            task_id=task_id,
            audio_url="{{ params.audio_url }}&task=" + task_id,
            video_url="{{ params.video_url }}",
            wait_for_completion=True,
            deferrable=deferrable,
            timeout=120,
            destination="file://{{ params.archive }}/" + task_id + "/{video_task_id}.mp4",
            outlets=[AssetAlias(f"kill_probe_{task_id}")],
            retries=2,
            retry_delay=timedelta(seconds=1),
            pre_execute=die_in_first_transfer,
        )
