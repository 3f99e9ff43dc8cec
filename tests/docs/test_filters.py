"""docs/filters.md: its tables show what was measured, its snippets run, its pictures exist."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from sobolevflow.cli.main import build_parser
from tests.support.paths import DOCS
from tests.support.snippets import run_snippets

PAGE = DOCS / "filters.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of a source archive")


def test_the_tables_show_what_a_record_holds(bench: Any) -> None:
    bench = bench("filters")
    names = [bench.COPY, *bench.FILTERS, bench.OPENCV]
    filters = [bench.COPY, *bench.FILTERS, bench.GAUSS]
    facts = {"ns_per_pixel": 1.25, "gb_per_s": 6.4, "percent_of_copy": 31.4}
    found = {n: {"filter": f, **facts} for n, f in zip(names, filters, strict=True)}
    found[bench.OPENCV]["difference"] = 2.4e-7
    ratios = [{"ratio": 1.5 + k} for k in range(len(bench.AIMS))]
    row = {"shape": [1, 3, 2048, 2048], "candidates": found, "times_faster": ratios}
    *_, last = (line for line in bench.speed_table({"speed": [row]}).splitlines() if bench.OPENCV in line)
    assert last == f"| {bench.GAUSS} | {bench.OPENCV} | 1.25, 6.4, 31 | 2e-07 |"
    first = bench.aims_table({"speed": [row]}).splitlines()[2]
    assert first == f"| {bench.GAUSS} | {bench.OPENCV} | 1.50 (aim 2) |"


def test_the_snippets_run(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = run_snippets(text)
    assert str(names["plan"]) in capsys.readouterr().out


def test_the_commands_parse(text: str) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines():
        command, *arguments = shlex.split(line)
        assert command == "sobolevflow"
        build_parser().parse_args(arguments)


def test_the_pictures_are_there_and_small(text: str) -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) >= 4
    for picture in pictures:
        assert (PAGE.parent / picture).stat().st_size < 150_000
