"""Which way of writing is right for which store, and the look at what it has published."""

import time

from airflow_provider_digitalhuman.archive import conditional_write, object_store
from airflow_provider_digitalhuman.archive.local_file import LocalSink
from airflow_provider_digitalhuman.archive.moved_file import MovedSink
from airflow_provider_digitalhuman.archive.object_store import ObjectSink
from airflow_provider_digitalhuman.archive.place import FileFacts, Place, read_facts
from airflow_provider_digitalhuman.archive.sink import Sink
from airflow_provider_digitalhuman.exceptions import DownloadRefusedError
from airflow_provider_digitalhuman.support.logs import Log


def open_sink(place: Place, max_bytes: int, log: Log, *, overwrite: bool = False) -> Sink:
    """Return the right way of writing to this store.

    :param max_bytes: the largest file to expect, which the size of a part depends on.
    :param overwrite: whether a file that is there may be replaced.
    """
    if place.is_local:
        return LocalSink(place, log, overwrite=overwrite)
    if place.protocol in object_store.PROTOCOLS:
        return ObjectSink(place, max_bytes, log, overwrite=overwrite)
    return MovedSink(place, log, overwrite=overwrite)


def check_published(place: Place, video: FileFacts, published_in: float, video_task_id: str) -> None:
    """Check that the file at ``place`` is the one that was published there without a condition of the store.

    :param video: the file that was published.
    :param published_in: seconds that publishing took; another task's can take as long.
    :raises DownloadRefusedError: if it is another one, or none.
    """
    time.sleep(max(conditional_write.SHORTEST_PAUSE, 2 * published_in))
    found = read_facts(place, overwrite=False)
    if found != video:
        now = f"another file is there ({found})" if found else "there is no file any more"
        raise DownloadRefusedError(
            f"The file of video task {video_task_id} ({video}) was stored at {place}, and now {now}: another task has"
            " probably stored its video at the same destination, over this one. Give each video a destination of its"
            " own, with {video_task_id} in it, and store this one there with DownloadDigitalHumanVideoOperator"
            f"(video_task_id={video_task_id!r}, …); it is paid for, and is not submitted again by that."
        )
