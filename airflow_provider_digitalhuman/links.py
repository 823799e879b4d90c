"""The link's class under the path that serialized DAGs hold."""

from airflow_provider_digitalhuman.support.links import DigitalHumanVideoLink as DigitalHumanVideoLink
