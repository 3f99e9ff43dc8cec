"""Imports run downwards only, and through faces: the architecture as a table that is enforced."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter

import pytest

from tests.support import imports
from tests.support.imports import PACKAGE, Import, room
from tests.support.paths import ROOT

# Files and folders directly below sobolevflow, lowest floor first. A room imports from the floors below its
# own and from nothing else, so that there is no circle either; CONTRIBUTING.md has the same table with words.
FLOORS: tuple[str, ...] = (
    "_version asides text",
    "errors",
    "checks files named onnxgrad",
    "arrays capacity",
    "devices kernels models optimizers pictures",
    "filters network results total_variation transforms",
    "maps objectives",
    "gradient proximal",
    "attribution metrics schemes",
    "descent",
    "experiments",
    "cli",
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names.split()}

# Rooms that could be packages of their own, with all that they may import of the project.
INDEPENDENT = {
    "onnxgrad": {"errors"},
    "filters": {"errors", "checks", "named", "arrays", "kernels"},
    "total_variation": {"errors", "checks", "named", "arrays", "kernels"},
    "maps": {"errors", "checks", "named", "arrays", "kernels", "total_variation"},
}

FRAMEWORKS = {"torch", "torchvision", "tensorflow", "keras", "jax", "timm"}
MODULES = sorted(imports.sources())


def test_every_room_stands_on_a_floor() -> None:
    assert set(imports.rooms()) == set(FLOOR)
    assert len(FLOOR) <= 30
    assert len(FLOORS) <= 12


@pytest.mark.parametrize("name", FLOOR)
def test_imports_run_downwards_only(name: str) -> None:
    upward = {other for other in imports.edges()[name] if FLOOR[other] >= FLOOR[name]}
    assert not upward, f"{name} (floor {FLOOR[name]}) imports from its own floor or from above: {upward}"


def test_the_table_of_contributors_is_this_one() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", text, re.MULTILINE)
    told = {int(number): re.findall(r"`([\w]+)`", names) for number, names in rows}
    assert told == {number: names.split() for number, names in enumerate(FLOORS)}


def test_no_circular_imports() -> None:
    """Between files; a face names the modules behind it, and they do not import it back."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for each in imports.internal_imports():
        graph[each.module].add(each.target)
    faces = {m for m in MODULES if imports.sources()[m].name == "__init__.py"}
    back = [(m, t) for m, targets in graph.items() for t in targets if _is_own_face(m, t, faces)]
    assert not back, f"modules import from the face in front of them: {back}"
    TopologicalSorter({m: targets - {m} for m, targets in graph.items()}).prepare()


def _is_own_face(module: str, target: str, faces: set[str]) -> bool:
    return target in faces and target != PACKAGE and module.startswith(target + ".")


def _is_offered(each: Import) -> bool:
    """Whether what is imported from another room stands in that room's face, by name or as a whole module."""
    front = f"{PACKAGE}.{room(each.target)}"
    if each.target == front:
        is_file = imports.sources()[front].name != "__init__.py"
        return is_file or not each.name or each.name in imports.face(front)
    inside = each.target.removeprefix(front + ".").split(".")
    package = front
    for part in inside:
        if part not in imports.face(package):
            return False
        package = f"{package}.{part}"
    return True


def test_rooms_take_from_each_other_only_what_their_faces_offer() -> None:
    others = [e for e in imports.internal_imports() if room(e.target) and room(e.target) != room(e.module)]
    assert not [e for e in others if not _is_offered(e)]


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_rooms_know_nothing_of_the_rest(name: str) -> None:
    assert imports.edges()[name] <= INDEPENDENT[name]


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) != "models"])
def test_no_deep_learning_framework_at_run_time(module: str) -> None:
    assert not {e.target.split(".")[0] for e in imports.all_imports() if e.module == module} & FRAMEWORKS


def _docstring(module: str) -> str:
    tree = ast.parse(imports.sources()[module].read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or ""


def test_every_module_says_in_its_first_line_what_lives_there() -> None:
    first = {module: _docstring(module).partition("\n")[0] for module in MODULES}
    assert not [module for module, line in first.items() if not line.endswith(".")]
    lines = list(first.values())
    assert not {line for line in lines if lines.count(line) > 1}


def test_the_docstring_of_the_package_is_the_map_of_its_rooms() -> None:
    told = set(re.findall(r"^ *`(\w+)`", _docstring(PACKAGE), re.MULTILINE))
    assert told == {name for name in FLOOR if not name.startswith("_")}


@pytest.mark.parametrize("package", [m for m in MODULES[1:] if imports.sources()[m].name == "__init__.py"])
def test_the_docstring_of_a_room_names_what_is_in_it(package: str) -> None:
    inside = {m.removeprefix(package + ".").split(".")[0] for m in MODULES if m.startswith(package + ".")}
    told = set(re.findall(r"`(\w+)`", _docstring(package)))
    assert inside <= told
