"""OpenLineage methods for the operators; what they need is imported only when Airflow asks."""

from abc import abstractmethod
from typing import Any

from airflow_provider_digitalhuman.support.lineage_facts import LineageFacts


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
