"""The mutation tool changes what counts, and nothing that only people read."""

import pytest

from tools.mutants import mutants_of


def changes(source: str) -> set[str]:
    mutants = mutants_of(source)
    for mutant in mutants:
        compile(mutant.source, mutant.change, "exec")
    assert len({mutant.change for mutant in mutants}) == len(mutants), "each can be judged by its name"
    return {mutant.change for mutant in mutants}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < 3", {"module: a < 3 -> a <= 3", "module: 3 -> 4 in a < 3", "module: 3 -> 2 in a < 3"}),
        ("x = a is None", {"module: a is None -> a is not None"}),
        ("x = a and b", {"module: a and b -> a or b"}),
        ("x = not a", {"module: not a -> a"}),
        ("x = a + b", {"module: a + b -> a - b"}),
        ("x: Final = 1.0", {"module: 1.0 -> 1.1 in x: Final = 1.0"}),
        ("X = frozenset({'a', 'b'})", {"module: 'a' left out", "module: 'b' left out"}),
        ("X = {'a': True}", {"module: 'a' left out", "module: True -> False in {'a': True}"}),
        ("class A:\n    x = 'a'", {"A: x = 'a' left out", "A: 'a' -> 'aXX' in x = 'a'"}),
        ("def f():\n    return a", {"f: return a -> return None"}),
        ("def f():\n    raise a", {"f: raise a left out"}),
        ("def f(x=None):\n    g()", {"f: None -> 1 in x=None", "f: g() left out"}),
        ("class A:\n    def f(self):\n        self.x = y", {"A.f: self.x = y left out"}),
        ("if a:\n    b += 1", {"module: if a -> if not a", *(f"module: {one}" for one in (
            "b += 1 left out", "b += 1 -> b -= 1", "1 -> 2 in b += 1", "1 -> 0 in b += 1"))}),
    ],
)  # fmt: skip
def test_changes_are_made(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A module."""\n\ndef f(x: "int | None") -> "str": \n    """Docstring."""\n    ...',
        "if TYPE_CHECKING:\n    x = 1 + 1",
        "Kind = Literal['a', 'b']\nEither = A | B",
        "x = f'{a + b} of {c}'",
        "x = 'a text for people'",
        "class A:\n    __slots__ = ('a', 'b')",
    ],
)
def test_texts_and_types_are_left_alone(source: str) -> None:
    assert changes(source) == set()
