"""docs/total_variation.md: tables as in the record, snippets and commands that run, pictures that exist."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from typing import Any

import numpy as np
import pytest

from sobolevflow.cli.main import build_parser
from sobolevflow.total_variation import prox
from tests.support.paths import DOCS
from tests.support.snippets import prose, run_snippets

PAGE = DOCS / "total_variation.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of a source archive")


def test_the_aim_that_is_missed_is_the_one_that_is_said(text: str, bench: Any) -> None:
    bench = bench("total_variation")
    record = json.loads(bench.RECORD.read_text())
    rows = [row for row in record["speed"] if row["target"] == bench.AIM_TARGET]
    missed = []
    for row in rows:
        peers = [row["solvers"][name] for name in bench.SKIMAGE]
        times = [peer["times_ours"] for peer in peers if peer["enough"]]
        if times and min(times) < bench.AIM_SKIMAGE[row["weight"]]:
            missed.append((row["weight"], f"{min(times):.1f}"))
    assert [weight for weight, _ in missed] == [0.02] * len(missed)
    sentence = f"denoised {' and '.join(times for _, times in missed)} times faster"
    assert sentence in " ".join(text.split())
    small, *_, large = rows[0], *(row for row in rows if row["weight"] == 0.02)
    assert (small["weight"], small["shape"], large["shape"]) == (0.02, [1, 1, 224, 224], [1, 1, 2048, 2048])
    ours, theirs = (small["solvers"][name] for name in (bench.OURS, bench.CHAMBOLLE))
    assert (
        f"{theirs['iterations']} of Chambolle's iterations suffice where ours are {ours['iterations']:g}, "
        f"and of {ours['ms']:.1f} ms ours"
    ) in prose(PAGE)
    assert large["solvers"][bench.CHAMBOLLE]["times_ours"] >= bench.AIM_SKIMAGE[0.02]


def test_how_it_was_measured_is_said(bench: Any) -> None:
    bench, said = bench("total_variation"), prose(PAGE)
    assert f"that scikit-image ships, with noise of {bench.NOISE:g}" in said
    assert f"which takes little from noise of {bench.NOISE:g}" in said
    assert bench.MOST_SECONDS == 12
    assert "longer than twelve seconds a call" in said
    assert f"not {bench.AIM_SKIMAGE[0.02]:g} times" in said
    height, width = bench.SHAPES[0][-2:]
    assert f"Fewest iterations to 1e-3 of a photograph of {height} x {width}." in said
    assert inspect.signature(prox).parameters["tol"].default == 1e-3
    assert "At the default, 1e-3" in said


def test_the_tables_show_what_a_record_holds(bench: Any) -> None:
    bench = bench("total_variation")
    facts = {"iterations": 40.0, "reached": 7.8e-4, "ms": 2.68, "ns_per_pixel_and_iteration": 1.33}
    solvers = {
        bench.OURS: {**facts, "times_ours": 1.0, "enough": True},
        bench.CHAMBOLLE: {**facts, "iterations": 197, "ms": 43.4, "times_ours": 18.1, "enough": True},
        bench.BREGMAN: {**facts, "reached": 0.03, "iterations": 512, "times_ours": 150.0, "enough": False},
        bench.PYPROXIMAL: {**facts, "ms": 142.3, "times_ours": 56.3, "enough": True},
    }
    row = {"shape": [1, 1, 224, 224], "weight": 0.1, "target": 1e-3, "solvers": solvers}
    last = bench.speed_table({"speed": [row]}).splitlines()[-1]
    assert last == (
        "| 1 x 1 x 224 x 224 | 0.1 | 1e-3 | 2.68 (40) | 43.4 (197) | at 0.03 after 2.68 (512) | 142 (91) |"
    ).replace("(91)", "(40)")
    assert bench.aims_table({"speed": [row]}).splitlines()[-1] == (
        f"| 1 x 1 x 224 x 224 | 0.1 | 18.1 (aim 15; {bench.CHAMBOLLE}) | 56.3 (aim 5; {bench.PYPROXIMAL}) "
        "| 1.33 (aim 2) |"
    )


def test_the_search_finds_the_fewest_iterations(bench: Any) -> None:
    """Of a made-up solver, whose energy falls with the iterations to a level that it does not leave."""
    bench = bench("total_variation")
    f = np.random.default_rng(0).random((1, 6, 7)).astype(np.float32)
    problem = bench.Problem(f, 0.1)
    best = prox(f.astype(np.float64), 0.1, 1e-6, 100_000).u

    def towards(n: int) -> Any:
        return best + (f - best) * max(0.97**n, 1e-2)

    progress = bench.Progress(problem, towards, most_seconds=10)
    for target in (0.1, 1e-2):
        n, enough = progress.fewest(target)
        assert enough
        assert problem.suboptimality(towards(n)) <= target
        assert n > 4
        assert problem.suboptimality(towards(int(n / 1.2) - 1)) > target
    n, enough = progress.fewest(1e-7)
    assert not enough
    assert n <= 2048


def test_the_snippets_run(text: str) -> None:
    run_snippets(text)


def test_the_commands_parse(text: str) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines():
        command, *arguments = shlex.split(line)
        assert command == "sobolevflow"
        build_parser().parse_args(arguments)


def test_the_pictures_are_there_and_small(text: str) -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 2
    for picture in pictures:
        assert (PAGE.parent / picture).stat().st_size < 150_000
