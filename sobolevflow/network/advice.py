"""What to tell the user of a network: what was assumed of it, and what to ask for instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from .layers import SHAPE_ONLY, seen_through

if TYPE_CHECKING:
    from .network import Network

_IMAGENET = 1000  # classes; networks with one output more are common, and the extra one is a background class

_RECTIFYING = ("Relu", "Clip", "LeakyRelu")

_POOLING = ("GlobalAveragePool", "AveragePool", "MaxPool", "ReduceMean")


def notes(net: Network) -> list[str]:
    """What was assumed or changed on the way in."""
    declared = net.image_input.declared
    more = net.background is None and _one_output_more(net)
    every = [
        (
            "int" in declared,
            f"the input is declared {declared}; it is given real numbers, for the gradient's sake",
        ),
        (
            not net.preprocess_given,
            "no pre-processing is recorded or given; the network gets the image in [0, 1] as it is",
        ),
        (
            net.stripped is not None,
            f"the trailing {net.stripped} is left out; class scores are those of {net.score_layer!r}",
        ),
        (
            more and net.labels is None,
            f"{_IMAGENET + 1} outputs and no labels: class k is output k; if output 0 is a background "
            "class, say background=1 (--background 1)",
        ),
        (
            more and net.labels is not None,
            "there is one output more than labels; output 0 is taken for a background class",
        ),
    ]
    return [note for holds, note in every if holds]


def _one_output_more(net: Network) -> bool:
    """Whether there is one output more than labels, or than the classes of ImageNet without them."""
    labels = _IMAGENET if net.labels is None else len(net.labels)
    return net.class_scores.count_or_none == labels + 1


def layers_with_gradient(net: Network) -> str:
    """A sentence that names the last layers with a gradient, and how to ask for one."""
    usable = [info for info in net.layers if info.differentiable and info.shape and len(info.shape) == 4]
    if not usable:
        return "No layer of four axes has a gradient"
    last = [info.name for info in usable[-3:]][::-1]
    return (
        f"Choose a layer with a gradient, e.g. sf.Channel({last[0]!r}, 0) or --channel {last[0]}:0 "
        f"(the last layers with a gradient: {', '.join(last)})"
    )


def pre_activation(net: Network, layer: str) -> str | None:
    """The input of the last rectifier before `layer`, seen through pools and reshapes, or None."""
    node = seen_through(net.makers, layer, (*SHAPE_ONLY, *_POOLING))
    return str(node.input[0]) if node is not None and node.op_type in _RECTIFYING else None


def preactivation_hint(net: Network, objective: Any) -> str | None:
    """A sentence that says which pre-activation to ask for when `objective` is dead, or None."""
    for leaf in objective.leaves():
        layer = leaf.tensor(net)
        before = pre_activation(net, layer)
        if before is not None:
            python, flag = leaf.spelled_at(before, net)
            return (
                f"{layer!r} lies behind a rectifier that is closed here; "
                f"ask for its pre-activation: {python} ({flag})"
            )
    return None


def first_non_finite(net: Network, image: np.ndarray) -> str | None:
    """The first layer whose value at `image` is not finite, or None."""
    layers = [info.name for info in net.layers if info.differentiable]
    try:
        values = net.features(image, layers)
    except ModelError:
        return None
    bad: Iterable[str] = (n for n, v in zip(layers, values, strict=True) if not np.isfinite(v).all())
    return next(iter(bad), None)
