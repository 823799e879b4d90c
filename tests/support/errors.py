"""What an error of this provider means, whoever raised it."""

from airflow_provider_digitalhuman import exceptions


def meaning(error: BaseException) -> type[BaseException]:
    """Return the provider's own class: the hook raises some that Airflow knows as final as well."""
    return next((kind for kind in type(error).__mro__ if kind.__module__ == exceptions.__name__), type(error))
