"""Which layers have a gradient: those for which an objective can be asked, now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from ..errors import ModelError
from ..onnxgrad import Weights, normalize, with_gradient
from .image_input import ImageInput
from .layers import LayerInfo


def with_gradients(
    layers: Sequence[LayerInfo],
    waiting: Collection[str],
    model: onnx.ModelProto,
    image_input: ImageInput,
    feeds: Mapping[str, np.ndarray],
    weights: Weights,
) -> list[LayerInfo]:
    """The layers, each `differentiable` where its gradient can be computed.

    Parameters
    ----------
    layers : sequence of LayerInfo
        As `list_layers` has them: those that operators cut off are marked, others may be cut off by how
        their operators are used.
    waiting : collection of str
        Layers that depend on an input without a value.
    model, image_input, feeds, weights
        Of the network.
    """
    asked = [
        info.name
        for info in layers
        if info.differentiable and info.shape is not None and info.name not in waiting
    ]
    found = _found(asked, model, image_input, feeds, weights) if asked else set()
    return [replace(info, differentiable=info.name in found) for info in layers]


def _found(
    asked: Sequence[str],
    model: onnx.ModelProto,
    image_input: ImageInput,
    feeds: Mapping[str, np.ndarray],
    weights: Weights,
) -> set[str]:
    """Those that have a gradient; where all of them together have no normal form, of each half by itself."""
    try:
        graph = normalize(
            model,
            input_shapes={image_input.name: image_input.tensor_shape(1)},
            keep=asked,
            feeds=feeds,
            weights=weights,
        )
    except ModelError:
        if len(asked) == 1:
            return set()
        half = len(asked) // 2
        return {
            name
            for part in (asked[:half], asked[half:])
            for name in _found(part, model, image_input, feeds, weights)
        }
    return with_gradient(graph, image_input.name).intersection(asked)
