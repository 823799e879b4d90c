"""OpenLineage methods for the operators; what they need is imported only when Airflow asks."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.api.response import VideoTask
    from airflow_provider_digitalhuman.archive.archiving import ArchivedVideo


class LineageFacts(NamedTuple):
    """What an operator knows of one video's lineage. What is not known (yet) is None.

    :param media_urls: where the media came from that the video is made of.
    :param model_version: the ``modelVersion`` that was sent.
    :param video_task_id: the vendor's task ID.
    :param task: the task as the API told it last.
    :param archived: the file in the user's own storage.
    :param base_url: of the API; names the vendor's copy of the video, which joins the task that makes it to the one
        that archives it.
    """

    media_urls: tuple[str, ...] = ()
    model_version: int | str | None = None
    video_task_id: str | None = None
    task: "VideoTask | None" = None
    archived: "ArchivedVideo | None" = None
    base_url: str | None = None


class OpenLineageMixin:
    """Airflow's three OpenLineage methods; the operator overrides :meth:`lineage_facts`."""

    @abstractmethod
    def lineage_facts(self) -> LineageFacts:
        """Return what is known now. In the process that ends the task, that is everything."""

    def get_openlineage_facets_on_start(self) -> Any:
        """Return the lineage as it is known before the task has run."""
        return self._operator_lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the lineage of a task that has succeeded."""
        return self._operator_lineage()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return the lineage of a task that has failed."""
        return self._operator_lineage()

    def _operator_lineage(self) -> Any:
        from airflow_provider_digitalhuman.support.openlineage import operator_lineage

        return operator_lineage(self.lineage_facts())
