"""docs/coming-from.md: every call that it names runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from tests.support.paths import DOCS
from tests.support.snippets import run_snippets

PAGE = DOCS / "coming-from.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of a source archive")


def calls() -> list[str]:
    """What stands on the right and can be evaluated: all but keywords alone, and names of other pages."""
    if not PAGE.exists():
        return []
    rows = re.findall(r"^\| (?!there|--).* \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    return [span for span in dict.fromkeys(spans) if "sf." in span or span.startswith(("net.", "u "))]


@pytest.fixture
def names(folder: Path) -> dict[str, Any]:
    """What the page has before its tables, and what their calls refer to."""
    found = run_snippets(PAGE.read_text(encoding="utf-8"))
    net, u = found["net"], found["u"]
    a = sf.attribution.integrated_gradients(net, sf.Class(121), u, steps=3)
    features = net.features(found["other"], [found["layer"]])[0].ravel()
    m = sf.attribution.saliency(net, sf.Class(121), u)
    mask = np.ones(u.shape[-2:], np.float32)
    return {**found, "a": a, "m": m, "w": 2.0, "N": 3, "features": features, "mask": mask}


@pytest.mark.parametrize("call", calls())
def test_a_call_runs(call: str, names: dict[str, Any]) -> None:
    if "module" in call:
        torch = pytest.importorskip("torch", reason="needs torch: the extra bench")
        names["module"] = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    if call.startswith("sf.visualize("):
        call = (
            f"{call[:-1]}, progress=False)" if "steps" in call else f"{call[:-1]}, steps=2, progress=False)"
        )
        call = call.replace("steps=512", "steps=3").replace("[128]", "[1]").replace("steps=200", "steps=2")
    found = eval(call, names)
    assert found is not None
    if isinstance(found, sf.objectives.Objective):
        batch = max(2, found.leaves()[0].natural_batch)
        _, g = sf.value_and_grad(names["net"], found)(np.repeat(names["u"][None], batch, 0))
        assert np.abs(g).max() > 0


def test_all_are_found() -> None:
    assert len(calls()) > 45
