"""Every block of Python and of a shell, of every page, runs as printed, beside the files that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from sobolevflow.cli.main import build_parser
from tests.support.command_line import run
from tests.support.paths import DOCS, ROOT
from tests.support.snippets import MARKS, blocks, check_syntax, sobolevflow_commands

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "sobolevflow/models/README.md")),
    *sorted(DOCS.glob("*.md")),
]
SHOWN = [page for page in PAGES if page.exists() and blocks(page.read_text(encoding="utf-8"))]
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not part of a source archive")


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
    return min([statement.lineno, *(each.lineno for each in decorators)])
