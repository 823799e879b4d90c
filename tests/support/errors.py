"""What an error of this provider means, whoever raised it."""

import traceback

from airflow_provider_digitalhuman import exceptions


def meaning(error: BaseException) -> type[BaseException]:
    """Return the provider's own class: the hook raises some that Airflow knows as final as well."""
    return next((kind for kind in type(error).__mro__ if kind.__module__ == exceptions.__name__), type(error))


def tracebacks(error: BaseException) -> int:
    """Return how many tracebacks Airflow's log shows of an error: one is enough where they all say the same."""
    return "".join(traceback.format_exception(error)).count("Traceback (most recent")
