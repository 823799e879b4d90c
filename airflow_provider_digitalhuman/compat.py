"""Every difference between the Airflow versions that this provider runs on, and the way into Airflow's retries."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_digitalhuman.exceptions import DigitalHumanError


@contextmanager
def airflow_retries() -> Iterator[None]:
    """Let an error of this provider end Airflow's retries where its class says that another try could not help.

    :raises AirflowFailException: in place of such an error, with its message, and with it as the cause.
    """
    try:
        yield
    except DigitalHumanError as error:
        if not error.ends_retries:
            raise
        raise AirflowFailException(str(error)) from error
