"""What to tell the user of a network: what was assumed of it, and what to ask for instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import onnx

from ..errors import as_option, did_you_mean, near_matches
from .classes import Classes
from .layers import SAME_CONTENT, LayerInfo, seen_through
from .preprocess import FLAG, Preprocess

_IMAGENET = 1000  # classes; networks with one output more are common, and the extra one is a background class
_RECTIFYING = ("Relu", "Clip", "LeakyRelu")
_POOLING = ("GlobalAveragePool", "AveragePool", "MaxPool", "ReduceMean")


BYTES = (
    "the input is declared uint8 and no pre-processing says otherwise: the network gets the image as 0 to "
    f'255, where earlier versions gave it [0, 1]; preprocess={{"scale": 255}} says so ({FLAG}), '
    'preprocess="none" gives it [0, 1]'
)


def of_inputs(
    declared: str,
    preprocess: Preprocess,
    channels: int,
    given: bool,
    assumed: bool,
    plain: Sequence[str],
    interpolates: bool,
) -> list[str]:
    """What was assumed of the inputs, or changed.

    Parameters
    ----------
    declared : str
        The type that the file declares the image as.
    preprocess : Preprocess
        What is in force.
    channels : int
        Of the image.
    given : bool
        Whether it is recorded or was given.
    assumed : bool
        Whether its unit is that of uint8.
    plain : sequence of str
        Other inputs that have a plain array, which could be a picture.
    interpolates : bool
        Whether a Resize interpolates an image that the file has as integers.
    """
    low, high = preprocess.range(channels)
    real = f"the input is declared {declared}; it is given real numbers, for the gradient's sake"
    unit = preprocess.scale == 1 and not any(preprocess.mean) and set(preprocess.std) == {1.0}
    every = [
        ("int" in declared, real),
        (assumed, BYTES),
        (
            interpolates,
            "a Resize of the integer image interpolates real numbers, where onnxruntime truncates each to a "
            "whole level; its own values differ by that",
        ),
        (
            "int" in declared and unit and not assumed,
            f"the pre-processing leaves the image in [0, 1], so the input of {declared} gets that; where it "
            f'counts 0 to 255, say preprocess={{"scale": 255}} ({FLAG})',
        ),
        (
            _does_not_hold(declared, low, high),
            f"the pre-processing gives numbers from {low:.4g} to {high:.4g}, which {declared} does not hold",
        ),
        (
            not given and not assumed,
            "no pre-processing is recorded or given; the network gets the image in [0, 1] as it is. "
            "net.predict(photo) (sobolevflow classify) proposes one",
        ),
    ]
    notes = [note for holds, note in every if holds]
    if preprocess.is_identity:
        return notes
    return notes + [
        f"the input {name!r} is given its array as it is; sf.Image(array) pre-processes a picture in [0, 1] "
        f"(--input {name}=PICTURE)"
        for name in plain
    ]


def _does_not_hold(declared: str, low: float, high: float) -> bool:
    """Whether numbers lie outside of a type of integers."""
    if "int" not in declared:
        return False
    limits = np.iinfo(declared)
    return low < limits.min - 0.5 or high > limits.max + 0.5


def of_outputs(names: Sequence[str], scored: str, alike: Sequence[str]) -> list[str]:
    """What was assumed of the outputs, where another may hold the class scores.

    Parameters
    ----------
    names : sequence of str
    scored : str
        The one that they are taken from.
    alike : sequence of str
        Those that are as likely to hold them.
    """
    others = [name for name in alike if name != scored]
    if others:
        why = f"the first that looks like it; so {_does(others)} {' and '.join(map(repr, others[:_SHOWN]))}"
    elif scored != names[0]:
        why = f"which looks more like one score per class than {names[0]!r}"
    else:
        return []
    return [f"the class scores are taken from output {scored!r}, {why}; output= (--scores) names another"]


def _does(names: Sequence[str]) -> str:
    return "does" if len(names) == 1 else "do"


def of_classes(classes: Classes) -> list[str]:
    """What was assumed of the classes, or changed."""
    scored = classes.count_or_none is not None
    more = classes.background is None and _one_output_more(classes)
    every = [
        (
            classes.stripped is not None and scored,
            f"the trailing {classes.stripped} {_is(classes.stripped)} left out; class scores are those of "
            f"{classes.layer!r}",
        ),
        (
            classes.stripped is not None and not scored,
            f"the output is the {classes.stripped} of {classes.layer!r}, and probabilities saturate: ask for "
            f"channels or neurons of {classes.layer!r}",
        ),
        (
            more and classes.labels is None,
            f"{_IMAGENET + 1} outputs and no labels: class k is output k; if output 0 is a background "
            "class, say background=1 (--background 1)",
        ),
        (
            more and classes.labels is not None,
            "there is one output more than labels; output 0 is taken for a background class",
        ),
    ]
    return [note for holds, note in every if holds]


def _is(operators: str | None) -> str:
    return "are" if operators and " and " in operators else "is"


def _one_output_more(classes: Classes) -> bool:
    """Whether there is one output more than labels, or than the classes of ImageNet without them."""
    labels = _IMAGENET if classes.labels is None else len(classes.labels)
    return classes.count_or_none == labels + 1


_SHOWN = 3  # layers that a message names


def layers_with_gradient(layers: Sequence[LayerInfo]) -> str:
    """A sentence that names the last layers with a gradient, and how to ask for one."""
    last = [info for info in layers if _has_units(info)][-_SHOWN:][::-1]
    if not last:
        return "No layer has a gradient"
    python, flag = _first_unit(last[0])
    return (
        f"Choose a layer with a gradient, e.g. {python} or {flag} "
        f"(the last layers with a gradient: {', '.join(repr(info.name) for info in last)})"
    )


def _has_units(info: LayerInfo) -> bool:
    """Whether an objective can be asked for in a layer: it has a gradient, an axis of images, and units."""
    shape = info.shape
    return info.differentiable and shape is not None and len(shape) > 1 and shape[0] == 1 and 0 not in shape


def _first_unit(info: LayerInfo) -> tuple[str, str]:
    """How to ask for the first channel of a layer, or its first unit where it has no positions."""
    kind = "Channel" if len(info.shape or ()) > 2 else "Neuron"
    return f"sf.{kind}({info.name!r}, 0)", as_option(kind.lower(), f"{info.name}:0")


def layer_before(layers: Sequence[LayerInfo], before: Collection[str]) -> str:
    """How to ask for the last layer with a gradient of those in `before`, after a comma; else nothing."""
    usable = [info for info in layers if info.name in before and _has_units(info)]
    return ", or ask for a layer before it: {} ({})".format(*_first_unit(usable[-1])) if usable else ""


def near_layers(name: str, layers: Sequence[LayerInfo]) -> str:
    """A sentence that names layers whose names are like `name`: those with a gradient, else the others."""
    usable = [info.name for info in layers if info.differentiable]
    if suggestion := did_you_mean(name, usable):
        return suggestion
    without = near_matches(name, [info.name for info in layers])
    return f" Near to it, but without a gradient: {', '.join(map(repr, without))}." if without else ""


def pre_activation(makers: Mapping[str, onnx.NodeProto], layer: str) -> str | None:
    """The input of the last rectifier before `layer`, seen through pools and reshapes, or None."""
    node = seen_through(makers, layer, (*SAME_CONTENT, *_POOLING))
    return str(node.input[0]) if node is not None and node.op_type in _RECTIFYING else None


def behind_a_rectifier(layer: str, instead: Iterable[tuple[str, str]]) -> str:
    """A sentence that says how to ask for the pre-activation of a layer that is dead."""
    return f"{layer!r} lies behind a rectifier that is closed here; ask for its pre-activation: " + ", ".join(
        f"{python} ({flag})" for python, flag in dict.fromkeys(instead)
    )
