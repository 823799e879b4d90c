"""The vendor's task as a value. Its class path and its dict are stored in databases: neither ever changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import pendulum

__all__ = ["TaskStatus", "VideoTask"]

URL_ALIASES: Final = ("result_url", "resultUrl", "videoUrl")
"""Other names that the field ``video_url`` of an answer goes by."""


class TaskStatus(StrEnum):
    """The vendor's words for the state of a task; a word that is not here means a task that may still run."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


VOCABULARY: Final = frozenset(TaskStatus)
FAILED: Final = frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED})
"""The words for an end without a video."""


# A named tuple comes back from XCom as a mere tuple, where a @task returns one.
@dataclass(frozen=True, slots=True)
class VideoTask:
    """The vendor's task that makes one video.

    :param id: the vendor's task ID, opaque.
    :param status: the vendor's word in lower case; see ``TaskStatus``.
    :param object: what the vendor calls it (``video``).
    :param created: when the vendor accepted it.
    :param model: the model's name as the vendor echoes it; not comparable with the one that was sent.
    :param video_url: where the finished file lies; expires after about a day.
    :param md5: MD5 of the finished file in lower-case hex; what is no MD5 stays as it came.
    :param error: the vendor's words when it failed.
    :param raw: the object as it came, also what is not documented (``progress``, ``amount``, ...).
    """

    id: str
    status: str
    object: str | None = None
    created: pendulum.DateTime | None = None
    model: str | None = None
    video_url: str | None = None
    md5: str | None = None
    error: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_completed(self) -> bool:
        """True when the video is made, whether or not its URL has come yet."""
        return self.status == TaskStatus.COMPLETED

    @property
    def is_failed(self) -> bool:
        """True when the task has ended without a video."""
        return self.status in FAILED

    @property
    def is_known_status(self) -> bool:
        """True when the status is a word of the vendor's vocabulary."""
        return self.status in VOCABULARY

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON types, with what else the vendor sent under its own names."""
        known = {
            "id": self.id,
            "object": self.object,
            "created": self.created.isoformat() if self.created else None,
            "model": self.model,
            "status": self.status,
            "video_url": self.video_url,
            "md5": self.md5,
            "error": self.error,
        }
        return {
            **known,
            **{key: value for key, value in self.raw.items() if key not in known and key not in URL_ALIASES},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "VideoTask":
        """Return the task that ``to_dict`` turned into ``value``.

        What is missing is None, and a missing status ``queued``: a record can hold the ID alone.

        :raises ValueError: if it holds no ``id``.
        """
        task_id = value.get("id")
        if not isinstance(task_id, str) or not task_id:
            raise ValueError(f"there is no task ID in {value!r}")
        created = value.get("created")
        return cls(
            id=task_id,
            status=value.get("status") or TaskStatus.QUEUED,
            object=value.get("object"),
            created=pendulum.DateTime.fromisoformat(created) if created else None,
            model=value.get("model"),
            video_url=value.get("video_url"),
            md5=value.get("md5"),
            error=value.get("error"),
            raw=value,
        )
