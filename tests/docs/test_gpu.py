"""docs/gpu.md and README: their tables show what was measured, their snippets run, their commands parse."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from sobolevflow.cli.main import build_parser
from sobolevflow.descent.autosave import SECONDS
from sobolevflow.descent.log import _BEHIND
from sobolevflow.filters.cuda import _MATRIX_SIDE
from sobolevflow.gradient.model import _HALF_SCALE
from tests.support.paths import DOCS
from tests.support.snippets import prose, run_snippets

PAGE = DOCS / "gpu.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of a source archive")

VERSIONS = {"onnxruntime": "1.31.1", "torch": "2.13.0", "cupy": "14.2.0"}
MEASURED = {
    "date": "2026-11-28",
    "machine": {"card": "NVIDIA X", "versions": VERSIONS},
    "gradients": [
        {
            "network": "vgg19",
            "batch": 1,
            "candidates": {
                "sobolevflow": {"ms": 2.5, "error_to_cpu": 1e-6},
                "PyTorch": {"ms": 4.25},
                "torch.compile": {"error": "no compiler"},
                "PyTorch, CUDA graph": {"ms": 3.125},
                "PyTorch, CUDA graph, TF32": {"ms": 1.0},
            },
        },
        {"network": "resnet50", "batch": 1, "candidates": {"sobolevflow": {"ms": 1.75}}},
    ],
    "descents": [
        {
            "network": "vgg19",
            "batch": 1,
            "scheme": "fluid",
            "seconds": 0.4123,
            "network_alone": 0.4,
            "share_not_network": 0.0298,
        }
    ],
}


def test_what_is_not_measured_is_said_in_words(bench: Any) -> None:
    bench = bench("gpu_page")
    filters = {"machine": {"card": "NVIDIA X"}, "speed": [{}]}
    for records in ([], [filters]):
        made = bench.parts(records)
        assert "| VGG19 | not measured yet | not measured yet |" in made["summary"]
        assert made["gradients"].startswith("Gradients have not been measured on a card yet")
        assert made["descents"].startswith("Whole descents have not been measured on a card yet")
        assert made["gradients"] in made["summary"]
        assert ("Filters have, on NVIDIA X" in made["summary"]) == bool(records)


def test_what_is_said_of_half_precision_was_measured(bench: Any) -> None:
    script = bench("half")
    rows = json.loads(script.RECORD.read_text())["rows"]
    assert len(rows) == 2
    text = prose(PAGE)
    assert (
        f"for the images of {script.CLASSES} classes, of which the other network recognises about as many "
        f"(one of them is {1 / script.CLASSES:.2f})"
    ) in text
    assert "Half precision keeps three digits of a score, but not of its gradient" in text
    for row in rows:
        assert row["value"] < 1e-3 < row["gradient"][0]
        single, half = (row["descents"][precision]["top1"] for precision in ("float32", "float16"))
        assert abs(single - half) < 2.5 / script.CLASSES


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    text = prose(PAGE)
    assert f"the backward pass is scaled by {_HALF_SCALE:g}" in text
    assert f"waits when it is {_BEHIND} steps ahead" in text
    assert f"planes of up to {_MATRIX_SIDE} pixels a side is four products of matrices" in text
    assert SECONDS == 10
    assert text.count("ten seconds") == 2


def test_the_tables_show_what_a_record_holds(bench: Any) -> None:
    bench = bench("gpu_page")
    made = bench.parts([MEASURED])
    assert "NVIDIA X, onnxruntime 1.31.1, torch 2.13.0, cupy 14.2.0, 2026-11-28:" in made["gradients"]
    assert "| VGG19 | 1 | 2.5 | 4.25 | - | 3.125 | 1 |" in made["gradients"]
    assert "| ResNet50 | 1 | 1.75 |  |  |  |  |" in made["gradients"]
    assert "| VGG19 | 1 | fluid | 0.412 | 0.4 | 3.0 % (aim 3 %) |" in made["descents"]
    assert "| VGG19 | 2.5 | 3.125 (PyTorch, CUDA graph) |" in made["summary"]
    assert "| ResNet50 | 1.75 | no PyTorch with CUDA at hand |" in made["summary"]


def test_the_snippets_run() -> None:
    names = run_snippets(PAGE.read_text(encoding="utf-8"))
    assert names["fast"].to_dict()["precision"] == "float16"
    assert names["other"].provider_options() == {"device_type": "GPU"}


def test_the_commands_parse() -> None:
    lines = re.findall(r"^(sobolevflow .*?)(?: +#.*)?$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        build_parser().parse_args(shlex.split(line)[1:])
