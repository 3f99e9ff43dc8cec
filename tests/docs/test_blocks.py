"""Every block of Python and of a shell, of every page, runs as printed, beside the files that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from sobolevflow.cli.main import build_parser
from sobolevflow.onnxgrad import RULES
from tests.support.command_line import run
from tests.support.gradient_cases import make_model, node
from tests.support.paths import DOCS, ROOT
from tests.support.snippets import MARKS, blocks, check_syntax, sobolevflow_commands

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "sobolevflow/models/README.md")),
    *sorted(DOCS.glob("*.md")),
]
SHOWN = [page for page in PAGES if page.exists() and blocks(page.read_text(encoding="utf-8"))]
CLASSES = 1000
NAMED = {2: "spiral", 121: "king crab, Alaska crab", 281: "tabby, tabby cat"}
# the name of each network that a page reads, and of the layers that it asks for
NETWORKS = {"model": "features.12", "a": "features.12", "b": "conv5", "squeezenet1_1": "features.12"}

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not part of a source archive")


def network(layer: str) -> onnx.ModelProto:
    """A classifier of ImageNet's classes that takes a moment, with a layer of that name."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "w2": (12, 8, 3, 3), "w3": (12, CLASSES)}
    constants = {name: 0.3 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        node("Conv", "x w1", "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", "stem", "relu"),
        node("Conv", "relu w2", layer, pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", layer, "pooled"),
        node("Flatten", "pooled", "flat"),
        node("MatMul", "flat w3", "scores"),
    ]
    inputs = {"x": (("N", 3, 32, 32), onnx.TensorProto.FLOAT)}
    return make_model(nodes, inputs, ["scores"], constants, opset=17)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the networks, labels and photographs that the pages name; the current one."""
    for name, layer in NETWORKS.items():
        onnx.save(network(layer), tmp_path / f"{name}.onnx")
    labels = "\n".join(NAMED.get(k, f"class {k}") for k in range(CLASSES))
    for name in ("classes.txt", "imagenet_classes.txt"):
        (tmp_path / name).write_text(labels, encoding="utf-8")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for name in ("photo.jpg", "other.jpg"):
        Image.fromarray(pixels).resize((160, 120)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RULES, "entries", dict(RULES.entries))  # a page enters a rule of its own
    return tmp_path


def ids(page: Any) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", SHOWN, ids=ids)
def test_blocks_without_a_mark_run_as_they_are_printed(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.mark:
            continue
        if block.language == "python":
            exec(block.text, names)
        elif block.language == "sh":
            found = list(sobolevflow_commands(block))
            assert len(found) == len(block.commands), "only calls of sobolevflow run here; mark the others"
            for arguments in found:
                assert run(*arguments) == 0, arguments


@pytest.mark.parametrize("page", SHOWN, ids=ids)
def test_blocks_with_a_mark_can_be_parsed(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if not block.mark:
            continue
        assert block.mark in MARKS
        if block.language == "python":
            check_syntax(block)
        elif block.language == "sh":
            for arguments in sobolevflow_commands(block):
                build_parser().parse_args(arguments)


@pytest.mark.parametrize("page", SHOWN, ids=ids)
def test_no_command_stands_outside_of_a_block(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"^    (?:sobolevflow|python|make|pip|import|from) .*", text, re.MULTILINE)


def test_what_is_shown_of_the_package_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = [block for block in blocks(text) if block.mark == "package"]
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "sobolevflow").rglob("*.py")]
    assert shown
    for block in shown:
        for statement in ast.parse(block.text).body:
            lines = block.text.splitlines()[_first_line(statement) - 1 : statement.end_lineno]
            assert any("\n".join(lines) in text for text in files), lines[0]


def _first_line(statement: ast.stmt) -> int:
    """Where a statement begins, its decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min(each.lineno for each in (statement, *decorators))
