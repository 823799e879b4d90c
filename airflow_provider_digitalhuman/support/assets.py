"""The archived video as an Airflow asset event, so that a publishing DAG can be scheduled on it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class StoredVideo(Protocol):
    """What an asset event and lineage need of an archived video."""

    @property
    def video_task_id(self) -> str:
        """The vendor's task ID."""

    @property
    def uri(self) -> str:
        """Where the file lies, without the storage connection."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def md5(self) -> str:
        """MD5 of the file."""


def event_extra(archived: StoredVideo) -> dict[str, Any]:
    """Return what goes with the event. Airflow keeps it in clear: nothing in it is secret."""
    return {"id": archived.video_task_id, "md5": archived.md5, "size": archived.size, "uri": archived.uri}


def announce(context: "Context", outlets: Iterable[Any], archived: StoredVideo) -> None:
    """Put the video into the events of the task's outlets, which Airflow sends when the task succeeds.

    An asset (Airflow 2.11: dataset) gets the video's facts as its event's extra; an alias gets the archived file
    as an asset, whose URI is only known now. Call it in the process that ends the task, after verification.

    :param outlets: the operator's ``outlets``.
    """
    events: Any = context["outlet_events"]
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(Asset(uri=_ascii(archived.uri)), extra=event_extra(archived))
        else:
            events[outlet].extra = event_extra(archived)


def _ascii(uri: str) -> str:
    """Return ``uri`` as Airflow takes it for an asset: 2.11 refuses other characters, later ones do on MySQL."""
    return "".join(character if character.isascii() else quote(character) for character in uri)
