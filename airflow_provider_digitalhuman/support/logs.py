"""The logger that functions outside of Airflow's classes are given."""

from typing import Any, Protocol


class Log(Protocol):
    """What is used of a logger: the standard library's and Airflow's both have it."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Log what happens."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Log what a person should look at."""
