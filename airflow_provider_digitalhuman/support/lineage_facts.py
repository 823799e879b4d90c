"""What an operator knows of one video's lineage."""

from dataclasses import dataclass

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.support.assets import StoredVideo


@dataclass(frozen=True, slots=True)
class LineageFacts:
    """What an operator knows of one video's lineage. What is not known (yet) is None.

    :param media_urls: where the media came from that the video is made of.
    :param model_version: the ``modelVersion`` that was sent.
    :param video_task_id: the vendor's task ID.
    :param task: the video task as the API reported it last.
    :param archived: the file in the user's own storage.
    :param base_url: of the API; names the vendor's copy of the video, which joins the task that makes it to the one
        that archives it.
    """

    media_urls: tuple[str, ...] = ()
    model_version: int | str | None = None
    video_task_id: str | None = None
    task: VideoTask | None = None
    archived: StoredVideo | None = None
    base_url: str | None = None
