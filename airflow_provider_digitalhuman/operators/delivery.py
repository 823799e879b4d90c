"""The last step of a video, the same for every operator that archives one: store it, then announce it.

It brings the HTTP library, so operators import this module where they use it.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import conf

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive.archiving import DEFAULT_MAX_BYTES, ArchivedVideo, archive_video
from airflow_provider_digitalhuman.archive.download import MIN_SPEED
from airflow_provider_digitalhuman.connection.fetching import reaches_private_network
from airflow_provider_digitalhuman.exceptions import AuthenticationError, DownloadError, VideoTaskNotFoundError
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.support.assets import announce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

XCOM_ARCHIVE: Final = "archive"
"""XCom key of the archived file's facts: ``path``, ``size``, ``md5``, ``seconds``, ``video_task_id``, ..."""


class Delivery:
    """Archives one video with a hook's connection; keeps the outcome, also where it fails.

    :param hook: asks for the fresh URL; its connection says how to reach servers.
    :param video_task_id: the vendor's task ID.
    :param sent_video_url: the clip that the video is made of, where it is known: it is never taken for the result.
    :param task: the task as the API reported it last.
    :param archived: the stored file.
    :param seconds: how long it took, or has taken when it failed.
    """

    def __init__(self, hook: DigitalHumanHook, video_task_id: str, sent_video_url: str | None = None) -> None:
        self.hook = hook
        self.video_task_id = video_task_id
        self._sent_video_url = sent_video_url
        self.task: VideoTask | None = None
        self.archived: ArchivedVideo | None = None
        self.seconds = 0.0

    def run(
        self,
        context: "Context",
        destination: Any,
        *,
        outlets: Iterable[Any] = (),
        storage_conn_id: str | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
    ) -> ArchivedVideo:
        """Archive the video; then, and only then, push the XCom ``archive`` and fill in the asset events.

        :param max_bytes: the largest file that is stored; None: 10 GiB.

        The other parameters and the errors are those of
        :func:`~airflow_provider_digitalhuman.archive.archiving.archive_video`.
        """
        settings = self.hook.settings
        started = time.monotonic()
        try:
            self.archived = archive_video(
                self._fetch,
                destination,
                log=self.hook.log,
                storage_conn_id=storage_conn_id,
                overwrite=overwrite,
                max_bytes=max_bytes or DEFAULT_MAX_BYTES,
                access=settings.file_access,
                allow_private_hosts=reaches_private_network(settings.base_url),
                min_speed=conf.getfloat("digitalhuman", "min_download_speed", fallback=MIN_SPEED),
            )
        finally:
            self.seconds = round(time.monotonic() - started, 3)
        context["ti"].xcom_push(key=XCOM_ARCHIVE, value=self.archived.to_dict())
        announce(context, outlets, self.archived)
        return self.archived

    def known(self) -> dict[str, Any]:
        """Return what :func:`~airflow_provider_digitalhuman.support.metrics.video_metrics` takes of it."""
        size = self.archived.size if self.archived else None
        seconds = self.archived.seconds if self.archived else self.seconds
        return {"video_task_id": self.video_task_id, "transfer_seconds": seconds, "size": size}

    def _fetch(self) -> VideoTask:
        try:
            self.task = self.hook.get_video(self.video_task_id, self._sent_video_url)
        except (AuthenticationError, VideoTaskNotFoundError) as error:  # of a video that is made: worth another try
            raise DownloadError(f"There is no fresh URL of the video: {error}") from error
        return self.task
