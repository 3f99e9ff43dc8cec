"""Which room of the package imports from which, read from the source: ``python tests/support/imports.py``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "sobolevflow"
PACKAGE = ROOT.name
# `__main__` is a door and no room; the package's own `__init__` is the door to all of them.
DOORS = ("__init__", "__main__")


@dataclass(frozen=True)
class Import:
    """``from target import name`` in a module; `name` is empty for ``import target``."""

    module: str
    target: str
    name: str


def module_name(path: Path) -> str:
    """Dotted name of a source file: sobolevflow/filters/__init__.py is sobolevflow.filters."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    return {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def room(module: str) -> str:
    """The file or folder directly below the package that a module belongs to; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def rooms() -> list[str]:
    """All rooms."""
    return sorted({room(module) for module in sources()} - {"", *DOORS})


@cache
def all_imports() -> tuple[Import, ...]:
    """Every import at any depth of the code, type-checking blocks included."""
    return tuple(found for module in sources() for found in _imports(module))


def internal_imports() -> list[Import]:
    """Those of the package itself."""
    return [each for each in all_imports() if each.target.split(".")[0] == PACKAGE]


def _imports(module: str) -> Iterator[Import]:
    path = sources()[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                yield Import(module, inner, "") if inner in sources() else Import(module, target, alias.name)


def edges() -> dict[str, set[str]]:
    """For every room the others that it imports from."""
    found: dict[str, set[str]] = {each: set() for each in rooms()}
    for each in internal_imports():
        here, there = room(each.module), room(each.target)
        if here in found and there in found and here != there:
            found[here].add(there)
    return found


def floors() -> list[list[str]]:
    """The rooms, each on the lowest floor that is above all that it imports from; an error for a circle."""
    graph, level = edges(), dict[str, int]()
    for each in TopologicalSorter(graph).static_order():
        level[each] = 1 + max((level[other] for other in graph[each]), default=-1)
    return [sorted(r for r, k in level.items() if k == floor) for floor in range(max(level.values()) + 1)]


def face(package: str) -> set[str]:
    """The names that a room or a package in it offers: those of its stub, else of its ``__all__``."""
    path = sources()[package]
    if path.name != "__init__.py":
        return set()
    stub = path.with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else path).read_text(encoding="utf-8"))
    if stub.exists():
        return {a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    told = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    return {name for node in told for name in ast.literal_eval(node.value)}


def main() -> None:
    """Print the floors, from the top down, each room with those that it imports from."""
    graph = edges()
    for number, names in reversed(list(enumerate(floors()))):
        for name in names:
            print(f"{number:2}  {name:16} <- {' '.join(sorted(graph[name])) or '-'}")
    print(f"{len(graph)} rooms on {len(floors())} floors, {sum(map(len, graph.values()))} edges")


if __name__ == "__main__":
    main()
