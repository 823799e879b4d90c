"""The facet's class under the path that lineage events hold."""

from airflow_provider_digitalhuman.support.openlineage import DigitalHumanVideoRunFacet as DigitalHumanVideoRunFacet
