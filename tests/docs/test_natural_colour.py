"""docs/natural-colour.md: its snippets run, its command parses, and README says what was measured."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from sobolevflow.cli import build_parser
from tests.support.paths import BENCH, DOCS, ROOT
from tests.support.snippets import run_snippets

PAGE = DOCS / "natural-colour.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of a source archive")


def test_the_snippets_run_and_the_command_parses(text: str, bench: Any) -> None:
    assert text.count("```python") == 1
    assert run_snippets(text)["result"].u.shape == (1, 3, 96, 96)
    (command,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    name, *arguments = shlex.split(command.replace("\\\n", ""))
    assert name == "sobolevflow"
    build_parser().parse_args(arguments)
    assert bench("natural_colour").PICTURE.stat().st_size < 250_000


def test_what_the_readme_says_is_what_was_measured() -> None:
    record = json.loads((BENCH / "results/natural_colour.json").read_text())
    count, rows = record["classes"], {row["recipe"]: row for row in record["rows"]}
    ours, papers = (round(count * rows[name]["top5"]) for name in ("natural colour", "fluid 11 x 11"))
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert (
        f"recognises {ours} of {count} classes among its first five, of the paper's fluid setting {papers}"
        in text
    )
