"""Describe what is public, as text: `python -m tools.public_surface` writes it to tests/unit/public_surface.txt.

Public is what docs/api.md shows. The sources are read, not imported, so the text is the same on every Airflow.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
DESCRIPTION = ROOT / "tests" / "unit" / "public_surface.txt"
PACKAGE = "airflow_provider_digitalhuman"
_DIRECTIVE = re.compile(r"^::: (\S+)(?:\n {4}options:\n {6}members: \[(.*)\])?$", re.MULTILINE)


class PublicSurface:
    """The public names of the package."""

    def __init__(self) -> None:
        self.package = griffe.load(PACKAGE, search_paths=[ROOT], submodules=True, allow_inspection=False)
        self.shown: dict[str, list[str] | None] = {}
        """Path of each class, function and constant that the page shows, and its public members; None: all of them."""
        for path, members in _DIRECTIVE.findall(PAGE.read_text(encoding="utf-8")):
            found = self.object(path)
            if isinstance(found, griffe.Module):
                self.shown |= {f"{path}.{name}": None for name in found.exports or []}
            else:
                is_enum = isinstance(found, griffe.Class) and "StrEnum" in map(str, found.bases)
                self.shown[path] = None if is_enum else re.findall(r"\w+", members)

    def object(self, path: str) -> griffe.Object | griffe.Alias:
        """Return what stands at a path, or where it was imported from."""
        found = self.package[path.removeprefix(f"{PACKAGE}.")]
        return found.final_target if isinstance(found, griffe.Alias) else found

    def describe(self) -> str:
        """Return a line for each public name, base class, argument, default and member."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for path, members in self.shown.items():
            found = self.object(path)
            yield from self._object_lines(path, found)
            if isinstance(found, griffe.Class):
                for name in found.members:
                    if name in members if members is not None else not name.startswith("_"):
                        lines = self._object_lines(name, self.object(f"{found.path}.{name}"))
                        yield from (f"    {line}" for line in lines)

    def _object_lines(self, name: str, found: griffe.Object | griffe.Alias) -> Iterator[str]:
        if isinstance(found, griffe.Class):
            yield f"class {name}({', '.join(map(str, found.bases))})"
            yield from self._parameter_lines(found.parameters)
        elif isinstance(found, griffe.Function):
            yield f"def {name} -> {found.returns}"
            yield from self._parameter_lines(found.parameters)
        elif isinstance(found, griffe.Attribute):
            annotation = f": {found.annotation}" if found.annotation else ""
            is_constant = found.value is not None and not found.labels.isdisjoint(
                {"class-attribute", "module-attribute"}
            )
            yield f"{name}{annotation}{f' = {found.value}' if is_constant else ''}"

    def _parameter_lines(self, parameters: griffe.Parameters) -> Iterator[str]:
        for one in parameters:
            if one.name not in ("self", "cls"):
                kind = one.kind.value if one.kind else ""
                default = "" if one.required else f" = {self._value(one.default)}"
                yield f"    {one.name}: {one.annotation}{default} ({kind})"

    def _value(self, default: str | griffe.Expr | None) -> str:
        """Return a default as a value, where it is the name of a constant of this package."""
        path = default.canonical_path if isinstance(default, griffe.ExprName | griffe.ExprAttribute) else ""
        constant = self.object(path) if path.startswith(f"{PACKAGE}.") else None
        return self._value(constant.value) if isinstance(constant, griffe.Attribute) else str(default)


if __name__ == "__main__":
    DESCRIPTION.write_text(PublicSurface().describe(), encoding="utf-8")
