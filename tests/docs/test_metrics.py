"""docs/metrics.md: its snippets run, and it names every measure."""

from __future__ import annotations

import re

import pytest

from sobolevflow import metrics
from tests.support.paths import DOCS
from tests.support.snippets import run_snippets

PAGE = DOCS / "metrics.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of a source archive")
def test_the_snippets_of_the_documentation_run_and_it_names_every_measure() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert run_snippets(text)["hits"].shape == (4,)
    listed = set(re.findall(r"`([a-z_]+)[`(]", text))
    helpers = {"Robustness", "Spectrum", "power_spectrum", "pooled_features"}
    assert set(metrics.__all__) - listed <= helpers | {"frechet_distance", "neighbour_distance"}
