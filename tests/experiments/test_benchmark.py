"""`sobolevflow bench`: what it reports, not how fast anything is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numba
import pytest

from sobolevflow.cli.main import main
from sobolevflow.experiments import benchmark


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["bench", *arguments, "--rounds", "2", "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_filters_are_reported_beside_a_copy(capsys: pytest.CaptureFixture[str]) -> None:
    rows = report(capsys, "filters", "--shape", "2x16x20", "--shape", "33x9", "--dtype", "float64")
    expected = [(s, name) for s in ([2, 16, 20], [33, 9]) for name in ("copy", *benchmark.FILTERS)]
    assert [(row["shape"], row["filter"]) for row in rows] == expected
    for row in rows:
        pixels = math.prod(row["shape"])
        assert row["ms"] > 0
        assert row["ns_per_pixel"] == pytest.approx(1e6 * row["ms"] / pixels)
        assert row["gb_per_s"] == pytest.approx(16 / row["ns_per_pixel"])
        assert (row["first_call_ms"] is None) == (row["filter"] == "copy")
    copies = {tuple(row["shape"]): row["ms"] for row in rows if row["filter"] == "copy"}
    for row in rows:
        assert row["percent_of_copy"] == pytest.approx(100 * copies[tuple(row["shape"])] / row["ms"])


def test_total_variation_is_reported_by_iteration(capsys: pytest.CaptureFixture[str]) -> None:
    rows = report(capsys, "tv", "--shape", "2x16x20")
    assert [row["weight"] for row in rows] == list(benchmark.TV_WEIGHTS)
    for row in rows:
        each = 1e6 * row["ms"] / (2 * 16 * 20 * row["iterations"])
        assert row["ns_per_pixel_and_iteration"] == pytest.approx(each)


def test_gradients_are_reported_in_forward_passes(capsys: pytest.CaptureFixture[str]) -> None:
    forward, gradient = report(capsys, "gradient", "--model", "builtin:shapes-dense", "--threads", "1")
    assert (forward["what"], gradient["what"]) == ("forward", "gradient")
    assert forward["forward_passes"] == 1
    assert gradient["forward_passes"] == pytest.approx(gradient["ms"] / forward["ms"])


def test_the_table_has_a_line_for_each_filter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "filters", "--shape", "8x8", "--rounds", "1"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert "percent of copy" in heading
    assert len(lines) == 1 + len(benchmark.FILTERS)


def test_every_timed_call_follows_an_untimed_one_of_its_own() -> None:
    made: list[str] = []

    def call(name: str) -> Callable[[], None]:
        return lambda: made.append(name)

    seconds = benchmark.alternate({"a": call("a"), "b": call("b")}, rounds=3, pause=0)
    assert made == ["a", "a", "b", "b"] * 3
    assert [len(s) for s in seconds.values()] == [3, 3]


def test_threads_are_set_for_the_block_alone() -> None:
    before = numba.get_num_threads()
    with benchmark.numba_threads(1):
        assert numba.get_num_threads() == 1
    assert numba.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["filters", "--shape", "7"], "not a shape"),
        (["gradient", "--shape", "8x8"], "--shape belongs to bench filters and tv, not to gradient"),
        (["filters", "--model", "builtin:shapes-vgg"], "--model belongs to bench gradient"),
        (["tv", "--full"], "--full belongs to bench filters"),
        (["filters", "--threads", "100000"], "ask for at most"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["bench", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert says in capsys.readouterr().err
