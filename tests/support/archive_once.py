"""A program that archives one video from a URL: ``archive_once.py URL MD5 DESTINATION``; prints what memory it took.

Also used by the benchmark. Reads Linux's ``/proc``: ``ru_maxrss`` would count the process that started it.
"""

import json
import logging
import sys
import time
from importlib import import_module
from pathlib import Path

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive.archiving import archive_video
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.operators import download  # what a worker has loaded before execute()


def memory(line: str) -> int:
    """Return ``VmRSS`` (now) or ``VmHWM`` (the peak of this process) in bytes."""
    return next(
        int(words.split()[1]) * 1024
        for words in Path("/proc/self/status").read_text().splitlines()
        if words.startswith(line)
    )


def main(url: str, md5: str, destination: str, storage_conn_id: str | None = None) -> None:
    assert download
    task = VideoTask(id="v-1", status="completed", md5=md5 or None, video_url=url)
    idle = memory("VmRSS")
    import_module("airflow_provider_digitalhuman.connection.transport")  # the hook has asked for the URL by now
    started = time.monotonic()
    archived = archive_video(
        lambda: task,
        destination,
        storage_conn_id=storage_conn_id,
        access=FileAccess(),
        allow_private_hosts=True,
        log=logging.getLogger(),
    )
    seconds = time.monotonic() - started
    print(json.dumps({"idle": idle, "peak": memory("VmHWM"), "seconds": seconds, "size": archived.size}))


if __name__ == "__main__":
    main(*sys.argv[1:])
