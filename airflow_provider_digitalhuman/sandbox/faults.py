"""Faults that are switched on: how one is defined, and which one fires now."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_digitalhuman.sandbox.fault_kinds import KINDS, OPERATIONS
from airflow_provider_digitalhuman.sandbox.fault_options import Option, is_integer, is_number


class InvalidFaultError(ValueError):
    """The definition of a fault cannot be used; the text names the field, the value and what is allowed."""


_COMMON: Final[Mapping[str, Option]] = {
    "times": Option(
        1, "an integer from 1, or null for ever", lambda value: value is None or (is_integer(value) and value >= 1)
    ),
    "skip": Option(0, "an integer from 0", lambda value: is_integer(value) and value >= 0),
    "match": Option(None, "a text, or null", lambda value: value is None or isinstance(value, str)),
    "probability": Option(1.0, "a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1),
    "seed": Option(None, "an integer, or null", lambda value: value is None or is_integer(value)),
}


@dataclass
class Fault:
    """A fault that was switched on.

    :param when: for a create: before or after the task is accepted; None for all else.
    :param matched: how often the operation, and ``match``, fitted.
    :param fired: how often it was played.
    """

    number: int
    on: str
    name: str
    when: str | None
    times: int | None
    skip: int
    match: str | None
    probability: float
    seed: int | None
    options: dict[str, Any]
    matched: int = 0
    fired: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - not for security

    def fires(self, subject: str) -> bool:
        """Whether it happens to this request, whose text is ``subject``; counts."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.match is not None and self.match not in subject:
            return False
        self.matched += 1
        if self.matched <= self.skip or self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """The definition, with what has become of it."""
        return {
            "number": self.number,
            "on": self.on,
            "fault": self.name,
            "when": self.when,
            "times": self.times,
            "skip": self.skip,
            "match": self.match,
            "probability": self.probability,
            "seed": self.seed,
            **self.options,
            "matched": self.matched,
            "fired": self.fired,
        }


class FaultBook:
    """All faults that are switched on; the first one that fits a request is played."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._added = 0

    def add(self, definition: object) -> Fault:
        """Switch a fault on.

        :raises InvalidFaultError: if the definition cannot be used.
        """
        fault = _parse(definition, self._added + 1)
        self._added += 1
        self._faults.append(fault)
        return fault

    def pick(self, on: str, subject: str, *, when: str | None = None, completed: bool = False) -> Fault | None:
        """The fault that happens now, if any.

        :param subject: the text that ``match`` is looked for in.
        :param completed: whether the task that is queried is completed.
        """
        for fault in self._faults:
            if fault.on != on or fault.when != when or (KINDS[fault.name].completed_only and not completed):
                continue
            if fault.fires(subject):
                return fault
        return None

    def listed(self) -> list[dict[str, Any]]:
        """All of them, used up ones too."""
        return [fault.as_json() for fault in self._faults]

    def clear(self) -> None:
        """Switch all of them off."""
        self._faults.clear()


def _parse(definition: object, number: int) -> Fault:
    if not isinstance(definition, dict):
        raise InvalidFaultError("a fault must be a JSON object with the fields on and fault")
    on = definition.get("on")
    if on not in OPERATIONS:
        raise InvalidFaultError(_wrong("on", on, "one of " + ", ".join(map(repr, OPERATIONS))))
    name = definition.get("fault")
    names = sorted(name for name, kind in KINDS.items() if on in kind.on)
    if not isinstance(name, str) or name not in names:
        raise InvalidFaultError(_wrong("fault", name, f"with on={on!r} one of " + ", ".join(map(repr, names))))
    kind = KINDS[name]
    when: str | None = None
    if on == "create":
        when = definition.get("when", kind.stages[0])
        if when not in kind.stages:
            raise InvalidFaultError(_wrong("when", when, f"for {name!r} one of " + ", ".join(map(repr, kind.stages))))
    known = {"on", "fault", *_COMMON, *kind.options} | ({"when"} if on == "create" else set())
    for key in definition:
        if key not in known:
            raise InvalidFaultError(
                f"{_shown(key)} is not a field of {name!r} on {on!r}; allowed: {', '.join(sorted(known))}"
            )
    return Fault(
        number=number,
        on=on,
        name=name,
        when=when,
        **_values(definition, _COMMON),
        options=_values(definition, kind.options),
    )


def _values(definition: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    values = {}
    for name, option in options.items():
        values[name] = value = definition.get(name, option.default)
        if name in definition and not option.accepts(value):
            raise InvalidFaultError(_wrong(name, value, option.allowed))
    return values


def _wrong(name: str, value: object, allowed: str) -> str:
    return f"{name} is {_shown(value)}; it must be {allowed}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
