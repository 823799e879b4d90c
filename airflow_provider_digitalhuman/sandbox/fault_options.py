"""The options of faults: the default of each, its check, and the words for what the check allows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """One option of a fault: its default, the check, and the words for what the check allows."""

    default: Any
    allowed: str
    accepts: Callable[[Any], bool]


def number(default: float, maximum: float = 86_400) -> Option:
    """A number from 0 on."""
    return Option(
        default,
        f"a number from 0 to {maximum:,.0f}",
        lambda value: is_number(value) and 0 <= value <= maximum,
    )


def integer(default: int | None, minimum: int, maximum: int) -> Option:
    """A whole number."""
    return Option(
        default,
        f"an integer from {minimum} to {maximum}",
        lambda value: is_integer(value) and minimum <= value <= maximum,
    )


def one_of(default: Any, *others: Any) -> Option:
    """One of these values."""
    allowed = (default, *others)
    return Option(
        default,
        "one of " + ", ".join(map(repr, allowed)),
        lambda value: any(type(value) is type(one) and value == one for one in allowed),
    )


def text(default: str | None) -> Option:
    """Any text."""
    return Option(default, "a text", lambda value: isinstance(value, str))


def header(default: str | None) -> Option:
    """The value of a header of HTTP, or null."""
    return Option(
        default,
        "a text of printable ASCII characters without spaces around it, or null",
        lambda value: (
            value is None
            or (isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip())
        ),
    )


def code(default: int | str) -> Option:
    """An error code, in either of its forms."""
    return Option(default, "an integer or a text", lambda value: isinstance(value, str) or is_integer(value))


def is_integer(value: object) -> bool:
    """Whether ``value`` is a whole number of JSON."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number of JSON."""
    return is_integer(value) or (isinstance(value, float) and math.isfinite(value))
