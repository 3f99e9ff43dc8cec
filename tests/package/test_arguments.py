"""Every public function against what its arguments are not: an error of ours, at once, or a result."""

from __future__ import annotations

import zlib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from tests.support.argument_cases import CASES
from tests.support.argument_table import VALUES
from tests.support.argument_trial import alike, troubles
from tests.support.public_callables import public_callables

SAMPLED = 8  # values of each argument; all of them: python -m tests.full.arguments

OF_THEIR_ROOMS = "held by tests of their own rooms"
OF_THE_GRADIENT = "asked by the gradient, with a network and what has been checked"
OF_GRAPHS = "takes graphs, nodes and tables of onnxgrad, as rules and those who extend it have them"
READ_ONLY = "what a call returns, or takes no argument"
BETWEEN_ROOMS = "asked by other rooms, which hand on what has been checked"

LEFT_OUT = {
    **dict.fromkeys(
        (
            *("filters.*", "metrics.*", "optimizers.*", "proximal.*", "schemes.*"),
            *(
                "total_variation.*",
                "transforms.*",
                "Bilateral*",
                "Multiscale",
                "NaturalColour",
                "PeronaMalik*",
            ),
            *("elastic", "fluid", "fluid_elastic", "gradient_descent", "proximal_tv"),
            *("heatmap", "read_image", "to_original"),
        ),
        OF_THEIR_ROOMS,
    ),
    **dict.fromkeys(
        ("LayerInfo", "Prediction", "Result", "SobolevflowError", "models.Converted", "Network.close"),
        READ_ONLY,
    ),
    **dict.fromkeys(
        (
            *(f"*.{m}" for m in ("key", "emit", "parameters", "notes", "spelled_at", "fits", "nearest_at")),
            *("*.arrays_of_images", "*.for_images", "*.weighted", "*.to_dict", "Class.indices", "*.tensor"),
            "*.named_in",
            *("Detection.at", "objectives.Combination.at", "objectives.chooses"),
            *("objectives.Leaf", "objectives.Objective*", "objectives.Emitter*", "objectives.Images"),
            *("objectives.spelled", "objectives.unit", "objectives.of_one_layer", "objectives.structure"),
            *("objectives.emit_objective", "objectives.runtime_parameters", "objectives.target_features"),
            *("Fourier.*", "Phase.*"),
        ),
        OF_THE_GRADIENT,
    ),
    "onnxgrad.*": OF_GRAPHS,
    **dict.fromkeys(
        (
            *("Network.unsupported", "Network.of_whole_numbers", "Network.unreached", "Network.graph"),
            *("Network.run_batch", "Network.stay_apart", "Network.pre_activation", "Network.squashed"),
            "Network.classes_among",
            *("Network.preactivation_hint", "Network.instead_of", "Network.first_non_finite"),
            *(
                "Preprocess.for_input",
                "objectives.check_asked",
                "objectives.holds_array",
                "objectives.read_*",
                "models.builtin_or_path",
                "models.convert",
            ),
            *("models.described", "models.input_size_of", "models.library_of", "models.name_of"),
            *("Limits.of", "Preprocess.check_channels", "Result.asked_by"),
            *("objectives.arrays_of", "objectives.from_dict"),
            *("Prediction.rows", "Prediction.tried_rows"),
            "kernels.told_of_compiling",
            *("Result.picture", "Result.manifest_json", "experiments.Folder.*", "experiments.Work.*"),
        ),
        BETWEEN_ROOMS,
    ),
}
"""Public callables that the table leaves out, and why."""


@pytest.mark.parametrize("name", CASES)
def test_an_argument_that_is_none_is_refused_in_words(name: str, tmp_path: Path) -> None:
    case = CASES[name](tmp_path)
    found = []
    for argument in case.arguments:
        rng = np.random.default_rng(zlib.crc32(f"{name}.{argument}".encode()))
        sampled = rng.choice(list(VALUES), SAMPLED, replace=False)
        found += troubles(case, argument, sampled.tolist())
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_numpy_and_classes_of_ones_own_are_taken(name: str, tmp_path: Path) -> None:
    found = alike(CASES[name](tmp_path))
    assert not found, "\n".join(found)


def test_every_public_callable_is_in_the_table() -> None:
    left = [k for k in public_callables() if k not in CASES and not any(fnmatch(k, p) for p in LEFT_OUT)]
    assert not left


@pytest.mark.parametrize("pattern", LEFT_OUT)
def test_what_is_left_out_exists(pattern: str) -> None:
    assert any(fnmatch(name, pattern) and name not in CASES for name in public_callables())
