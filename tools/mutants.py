"""The mutants of `make mutation`: one for each small change of a module's source that a test should detect."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple


class Mutant(NamedTuple):
    """One change of one module.

    :param line: in the module as it is.
    :param change: where, and what is replaced by what; its key in judged.json.
    :param source: the whole module with the change.
    """

    line: int
    change: str
    source: str


_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}

Change = tuple[Any, str]
"""The node that replaces another one, and the description of this change."""


def mutants_of(source: str) -> list[Mutant]:
    """Return every change of ``source``. Docstrings, messages and type hints are not changed."""
    tree = ast.parse(source)
    mutants, seen = [], Counter[str]()
    for place, line, parent, field, index, (new, shown) in list(_places(tree, "")):
        change = f"{place or 'module'}: {shown}"
        seen[change] += 1
        number = f" (no. {seen[change]})" if seen[change] > 1 else ""
        old = _swap(parent, field, index, new)
        mutants.append(Mutant(line, change + number, ast.unparse(ast.fix_missing_locations(tree))))
        _swap(parent, field, index, old)
    return mutants


def _swap(parent: ast.AST, field: str, index: int | None, new: Any) -> Any:
    held = getattr(parent, field)
    if index is None:
        setattr(parent, field, new)
        return held
    old, held[index] = held[index], new
    return old


def _places(parent: ast.AST, place: str) -> Iterator[tuple[str, int, ast.AST, str, int | None, Change]]:
    for field, held in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for index, node in enumerate(held) if isinstance(held, list) else [(None, held)]:
            if not isinstance(node, ast.AST) or _is_skipped(node, parent):
                continue
            for change in _changes(node, parent):
                yield place, getattr(node, "lineno", 0), parent, field, index, change
            name = node.name if isinstance(node, ast.ClassDef | ast.FunctionDef) else ""
            yield from _places(node, f"{place}.{name}".strip("."))


def _is_skipped(node: ast.AST, parent: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr() | ast.Assert() | ast.If(test=ast.Name("TYPE_CHECKING")):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name("log")))):
            return True
        case (
            ast.Assign(targets=[ast.Name("__slots__")]) | ast.keyword(arg="example")
        ):  # an example is read by tests only
            return True
        case ast.Assign(value=ast.Subscript() | ast.BinOp(op=ast.BitOr()) | ast.Call(func=ast.Name("TypeVar"))):
            return isinstance(parent, ast.Module)  # a type alias
    return False


def _changes(node: ast.AST, parent: ast.AST) -> Iterator[Change]:
    """Yield what can replace ``node``."""
    yield from _expression_changes(node, parent)
    yield from _collection_changes(node, parent)
    yield from _condition_changes(node)
    if isinstance(node, ast.stmt) and not isinstance(parent, ast.Module):
        yield from _statement_changes(node)


def _expression_changes(node: ast.AST, parent: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Constant(value) if not _is_covered_elsewhere(node, parent):
            for other in _other_values(value):
                yield ast.Constant(other), f"{value!r} -> {other!r} in {_shown(parent)}"
        case ast.Compare(left, ops, comparators):
            for index, op in enumerate(ops):
                swapped = [*ops[:index], _COMPARISONS[type(op)](), *ops[index + 1 :]]
                yield _replaced(node, ast.Compare(left, swapped, comparators))
        case ast.BoolOp(op, values):
            yield _replaced(node, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield _replaced(node, operand)
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            yield _replaced(node, ast.BinOp(left, _ARITHMETIC[type(op)](), right))
        case ast.AugAssign(target, op, value) if type(op) in _ARITHMETIC:
            yield _replaced(node, ast.AugAssign(target, _ARITHMETIC[type(op)](), value))


def _collection_changes(node: ast.AST, parent: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Tuple(members) | ast.Set(members) | ast.List(members) | ast.MatchOr(members):
            if isinstance(getattr(node, "ctx", ast.Load()), ast.Load) and not isinstance(parent, ast.Subscript):
                for index, member in enumerate(members):
                    rest = [*members[:index], *members[index + 1 :]]
                    yield _copy(node, **{node._fields[0]: rest}), f"{_shown(member)} left out"
        case ast.Dict(keys, values):
            for index, (key, value) in enumerate(zip(keys, values, strict=True)):
                less = ast.Dict([*keys[:index], *keys[index + 1 :]], [*values[:index], *values[index + 1 :]])
                yield less, f"{_shown(key or value)} left out"


def _condition_changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.If(test) | ast.While(test) | ast.IfExp(test) | ast.match_case(guard=ast.expr() as test):
            if not isinstance(test, ast.UnaryOp | ast.Compare | ast.Constant):  # these have changes of their own
                field = "guard" if isinstance(node, ast.match_case) else "test"
                negated = ast.UnaryOp(ast.Not(), test)
                yield _copy(node, **{field: negated}), f"if {_shown(test)} -> if {_shown(negated)}"


def _statement_changes(node: ast.stmt) -> Iterator[Change]:
    match node:
        case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield _replaced(node, ast.Return(ast.Constant(None)))
        case ast.Assign() | ast.AnnAssign(value=ast.expr()) | ast.AugAssign() | ast.Expr(ast.Call()) | ast.Raise():
            yield ast.Pass(), f"{_shown(node)} left out"
        case ast.Continue() | ast.Break() | ast.Delete():
            yield ast.Pass(), f"{_shown(node)} left out"


def _is_covered_elsewhere(node: ast.Constant, parent: ast.AST) -> bool:
    if isinstance(parent, ast.Compare):
        return node.value is None  # the comparison itself is changed
    return isinstance(parent, ast.Tuple | ast.Set | ast.List) or (isinstance(parent, ast.Dict) and node in parent.keys)


def _other_values(value: Any) -> list[Any]:
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, *([value - 1] if value > 0 else [])]
        case float():
            return [value * 1.1 or 1.0]
        case str():
            return [] if " " in value else [value + "XX"]  # a message
        case bytes():
            return [value + b"XX"]
        case None:
            return [1]
    return []


def _copy(node: Any, **changes: Any) -> Any:
    changed = copy.copy(node)
    vars(changed).update(changes)
    return changed


def _replaced(old: ast.AST, new: ast.AST) -> Change:
    return new, f"{_shown(old)} -> {_shown(new)}"


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-25:]}"
