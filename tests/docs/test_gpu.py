"""docs/gpu.md and README: their tables are those of the records, their snippets run, their commands parse."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from sobolevflow.cli import build_parser
from tests.support.paths import DOCS
from tests.support.snippets import run_snippets

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
    made = bench.parts([{**MEASURED, "gradients": [], "descents": []}])
    assert "| VGG19 | not measured yet | not measured yet |" in made["summary"]
    for key in ("summary", "gradients", "descents"):
        assert "no GPU was at hand" in made[key]


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
