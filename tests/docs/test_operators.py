"""The table of operators in the documentation is what the rules give."""

from __future__ import annotations

import subprocess
import sys

import onnx
import pytest

from sobolevflow.onnxgrad import RULES
from sobolevflow.onnxgrad.operators import operators, status, table
from tests.support.paths import DOCS

PAGE = DOCS / "operators.md"


def test_the_page_is_what_the_rules_give() -> None:
    command = "python -m sobolevflow.onnxgrad.operators > docs/operators.md"
    assert PAGE.read_text(encoding="utf-8") == table(), f"run {command}"


def test_the_command_prints_the_page() -> None:
    command = [sys.executable, "-m", "sobolevflow.onnxgrad.operators"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == table()


def test_every_rule_and_every_stop_has_a_row() -> None:
    rows = {line.split(" | ")[0].strip("| ") for line in table().splitlines() if line.startswith("| ")}
    assert rows > RULES.entries.keys() | RULES.stops.keys()


def test_every_operator_of_the_newest_opset_has_a_row() -> None:
    known = {s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated}
    newer = {name for name in known if not onnx.defs.has(name, 24, "")}
    assert operators().keys() == known - newer


@pytest.mark.parametrize(
    ("op", "kind", "word"),
    [
        ("Conv", "linear rule", "Weights"),
        ("Relu", "rule", "Zero at 0"),
        ("GroupNormalization", "body", ""),
        ("CastLike", "folded", "Cast"),
        ("Round", "stops", "steps"),
        ("BitwiseAnd", "discrete", ""),
        ("If", "folded", "branch"),
        ("QLinearConv", "folded", "dequantised"),
        ("Det", "refused", ""),
        ("GRU", "refused", ""),
    ],
)
def test_what_is_said_of_an_operator(op: str, kind: str, word: str) -> None:
    assert status(op)[0] == kind
    assert word in status(op)[1]
