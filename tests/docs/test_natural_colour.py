"""docs/natural-colour.md: its snippets run, its command parses, and README says what was measured."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sobolevflow.cli.main import build_parser
from sobolevflow.maps.natural_colour import PHOTOGRAPHS
from tests.support.paths import BENCH, DOCS, ROOT
from tests.support.snippets import prose, run_snippets

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


def test_what_is_said_of_natural_colours_is_so() -> None:
    text = prose(PAGE)
    ours = np.array(PHOTOGRAPHS)
    share = ours.sum() / 3 / np.trace(ours)  # of the variance, along (1, 1, 1)
    assert round(10 * share) == 9
    assert "nine tenths of the variance are of brightness" in text
    # the factor that lucid multiplies colours by, up to its scale
    lucid = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    theirs = lucid @ lucid.T
    assert np.abs(theirs / np.trace(theirs) * np.trace(ours) - ours).max() <= 0.02
    assert "differs by at most 0.02" in text


def test_the_rows_of_the_picture_are_the_recipes(bench: Any) -> None:
    script = bench("natural_colour")
    record = json.loads(script.RECORD.read_text())
    assert [row["recipe"] for row in record["rows"]] == list(script.RECIPES)
    assert len(record["shown"]) == 6
    assert "Six classes of SqueezeNet 1.1 under four recipes" in prose(PAGE)
    with Image.open(script.PICTURE) as picture:
        assert picture.height // script.CELL == len(script.RECIPES)
        assert picture.width > script.CELL * len(record["shown"])
