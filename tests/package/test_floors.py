"""Imports run downwards only: the architecture of the package, as a table that is enforced."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sobolevflow

ROOT = Path(sobolevflow.__file__).parent

# Rooms (modules or packages directly below sobolevflow), lowest floor first. A module may import
# from its own floor and from the floors below it; nothing may import in a circle.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "arrays", "devices", "failures", "image_stack", "kernels", "memory"}),
    frozenset(
        {
            "bilateral",
            "colour",
            "differences",
            "diffusion",
            "filters",
            "models",
            "multiscale",
            "onnxgrad",
            "proximal",
            "total_variation",
            "warp",
        }
    ),
    frozenset(
        {"network", "image_input", "layers", "layout", "labels", "preprocess", "objectives", "engine"}
        | {"caricature", "composition", "diversity", "installation", "sessions", "signature"}
    ),
    frozenset(
        {
            "attribution",
            "autosave",
            "defaults",
            "descent",
            "device_view",
            "history",
            "images",
            "loop",
            "manifest",
            "metrics",
            "normalise",
            "optimizers",
            "parametrization",
            "progress",
            "replay",
            "report",
            "result",
            "schemes",
            "settings",
            "several",
            "step",
            "transforms",
        }
    ),
    frozenset({"benchmark", "demo", "doctor", "experiments", "picture_filter"}),
    frozenset({"cli", "__main__"}),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# Rooms that could be packages of their own, with all that they may import of the project.
INDEPENDENT = {
    "onnxgrad": {"errors"},
    "filters": {"errors", "arrays", "kernels"},
    "total_variation": {"errors", "arrays", "image_stack", "kernels", "differences"},
    "bilateral": {"errors", "arrays", "image_stack", "kernels"},
    "diffusion": {"errors", "arrays", "image_stack", "kernels", "differences"},
}

FRAMEWORKS = {"torch", "torchvision", "tensorflow", "keras", "jax", "timm"}


def module_name(path: Path) -> str:
    """Dotted name of a source file: sobolevflow/filters/__init__.py is sobolevflow.filters."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
# The package's own __init__ is the door to every floor and is imported by no floor.
MODULES = sorted(SOURCES.keys() - {"sobolevflow"})


def home(module: str, name: str) -> str:
    """The module that ``from module import name`` depends on."""
    if f"{module}.{name}" in SOURCES:
        return f"{module}.{name}"
    if module == "sobolevflow" and name in sobolevflow._HOME:
        return f"sobolevflow.{sobolevflow._HOME[name]}"
    return module


def imports(module: str) -> Iterator[str]:
    """Every module that `module` imports at any depth of its code, type-checking blocks included."""
    package = module.split(".") if SOURCES[module].name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                # The version string belongs to no floor.
                if (target, alias.name) != ("sobolevflow", "__version__"):
                    yield home(target, alias.name)


def internal_imports(module: str) -> set[str]:
    return {name for name in imports(module) if name.split(".")[0] == "sobolevflow"}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "sobolevflow"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_stands_on_a_floor(module: str) -> None:
    assert room(module) in FLOOR, f"put {room(module)!r} into FLOORS of {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards_only(module: str) -> None:
    floor = FLOOR[room(module)]
    upward = {name for name in internal_imports(module) if FLOOR.get(room(name), len(FLOORS)) > floor}
    assert not upward, f"{module} (floor {floor}) imports from above: {sorted(upward)}"


def test_no_circular_imports() -> None:
    # A package's __init__ gathers its own modules, and they may not import it back.
    TopologicalSorter({module: internal_imports(module) - {module} for module in MODULES}).prepare()


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in INDEPENDENT])
def test_independent_rooms_know_nothing_of_the_rest(module: str) -> None:
    known = {room(name) for name in internal_imports(module)}
    assert known <= INDEPENDENT[room(module)] | {room(module)}


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) != "models"])
def test_no_deep_learning_framework_at_run_time(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & FRAMEWORKS
