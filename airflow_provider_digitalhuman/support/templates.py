"""What an operator can know of its arguments when the DAG file is parsed, and which of them are templated."""

from collections.abc import Sequence
from typing import Any, Final

_LITERALS: Final = int | float | list | dict | tuple | None


def is_rendered_later(value: Any) -> bool:
    """Tell a template or an XComArg from a literal."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value or "{#" in value
    return not isinstance(value, _LITERALS)


class TemplateFields:
    """``template_fields`` without those that are None: the class tells all its names, a task those that it uses.

    Airflow does some work for each name, when the DAG is parsed and again in every task process (3.3 builds a
    validator of pydantic's for each), and would show a None for it.

    :param names: all templated arguments.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def __get__(self, task: Any, owner: Any = None) -> Sequence[str]:
        """Return the names; while a task is being made, only what it has so far."""
        if task is None:
            return self._names
        return tuple([name for name in self._names if getattr(task, name, None) is not None])
