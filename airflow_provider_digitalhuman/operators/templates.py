"""What an operator can know of its arguments when the DAG file is parsed."""

from typing import Any


def is_rendered_later(value: Any) -> bool:
    """Tell a template or an XComArg from a literal."""
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    return not isinstance(value, int | float | list | dict | tuple | None)
