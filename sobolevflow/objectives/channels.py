"""On which axis of its layer an objective takes the channels, and what is to be said of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..errors import ChangedWarning, InputError, warn
from ..named import Option
from .base import Leaf, joined, plain_index

if TYPE_CHECKING:
    from ..network import Network

AXIS = Option(
    "axis",
    "on which the layer keeps its channels (default: followed through the network, else 1); -1 is the last",
    "integer",
)


def shape_with_units(net: Network, layer: str) -> tuple[int, ...]:
    """The shape of a layer; InputError where it is a single number for each image."""
    shape = net.layer_shape(layer)
    if len(shape) < 2:
        raise InputError(
            f"layer {layer!r} is a single number for each image and has no channels; ask for it as "
            f"sf.Neuron({layer!r}, ())"
        )
    return shape


def channel_axis(net: Network, layer: str, axis: int | None) -> int:
    """The axis of the channels, counted from the front: as asked for, else as the network has it.

    Raises
    ------
    InputError
        There is no such axis, or it is that of the images.
    """
    shape = shape_with_units(net, layer)
    if axis is None:
        return net.channel_axis(layer)
    return checks.axis(axis, f"the channel axis of layer {layer!r}", len(shape), least=1)


def channels_of(net: Network, leaf: Any) -> list[int]:
    """The channels that an objective asks for; InputError where the layer has not as many."""
    axis = channel_axis(net, leaf.layer, leaf.axis)
    size = net.layer_shape(leaf.layer)[axis]
    return in_range(leaf.channel, size, f"channel of {leaf.layer!r}", along(axis))


def place_axes(rank: int, axis: int) -> list[int]:
    """The axes of the positions: all but those of images and channels."""
    return [k for k in range(1, rank) if k != axis]


def along(axis: int) -> str:
    """How a message says which axis the channels were taken on, where it is not the first."""
    return "" if axis == 1 else f", the channels on axis {axis}"


def warn_of_another_axis(net: Network, leaf: Any) -> None:
    """Say that the channels are taken where they are, where axis 1 would have done in an earlier version."""
    axis, place = net.channel_axis(leaf.layer), net.places.place(leaf.layer)
    as_before = place is not None and place.is_first  # other layers were refused
    if leaf.axis is None and axis != 1 and as_before:
        warn(
            f"layer {leaf.layer!r} keeps its channels on axis {axis}, and they are taken there; earlier "
            "versions took axis 1. To have that again, say axis=1 (--axis 1).",
            ChangedWarning,
        )


def unknown_channels(net: Network, leaf: Any) -> list[str]:
    """A note where an axis had to be assumed."""
    shape, layout = net.layer_shape(leaf.layer), net.layouts.get(leaf.layer)
    if leaf.axis is not None or len(shape) < 3:
        return []
    axes = () if layout is None else layout.channel_axes
    if len(axes) == 1:
        return []
    taken = net.channel_axis(leaf.layer)
    if axes:
        several = " and ".join(map(str, axes))
        why = f"the channels of layer {leaf.layer!r} are split over axes {several}"
    else:
        why = f"where layer {leaf.layer!r} of shape {shape} keeps its channels, the network does not show"
    return [f"{why}; axis {taken} is taken for them. To take another, say axis= (--axis)."]


def axis_elsewhere(net: Network, leaf: Any, layer: str) -> int | None:
    """The axis to ask for in another layer; None where the network finds it by itself."""
    if leaf.axis is None:
        return None
    axis = channel_axis(net, leaf.layer, leaf.axis)
    here, there = net.layouts.get(leaf.layer), net.layouts.get(layer)
    if here is None or there is None or axis in here.channel_axes:
        alike = len(net.layer_shape(layer)) == len(net.layer_shape(leaf.layer))
        return axis if there is None and alike else None
    meaning = here.meanings[axis]
    return there.meanings.index(meaning) if there.meanings.count(meaning) == 1 else None


def has_channels(net: Network, layer: str, count: int, axis: int | None = None) -> bool:
    """Whether a layer has so many channels."""
    shape = net.layer_shape(layer)
    at = net.channel_axis(layer) if axis is None else axis
    return len(shape) > at and shape[at] == count


def as_many_channels(net: Network, leaf: Any, layer: str) -> bool:
    """Whether another layer has as many channels as that of an objective."""
    count = net.layer_shape(leaf.layer)[channel_axis(net, leaf.layer, leaf.axis)]
    return has_channels(net, layer, count, axis_elsewhere(net, leaf, layer))


_SHOWN = 3  # tensors that a note names


def probabilities(net: Network, leaf: Leaf, channels: Iterable[int] | None = None) -> list[str]:
    """A note where an objective looks at probabilities, which saturate, with what to ask for instead."""
    layer = leaf.tensor(net)
    own = len(net.layer_shape(layer)) > 1 and channel_axis(
        net, layer, getattr(leaf, "axis", None)
    ) != net.channel_axis(layer)
    # indices of an axis of the user's own are no channels
    found = net.squashed(layer, None if channels is None or own else sorted(set(channels)))
    if not found:
        return []
    usable = {info.name for info in net.layers if info.differentiable}
    found = [each for each in found if each.layer in usable] or found
    instead = []
    for each in found[:_SHOWN]:
        if each.layer not in usable:
            continue
        if channels is not None and each.channel is None:
            instead.append(repr(each.layer))
            continue
        if each.channel is None:
            spelling = leaf.nearest_at(each.layer, net)
        else:
            there: Any = replace(leaf, channel=each.channel)  # type: ignore[type-var]
            spelling = there.spelled_at(each.layer, net)
        instead.append("{} ({})".format(*spelling))
    more = ", ..." if len(found) > _SHOWN else ""
    advised = f"; ask for what is before it: {', '.join(instead)}{more}" if instead else ""
    return [
        f"{layer!r} lies behind a {found[0].operator}: a probability saturates, its gradient vanishes near 0 "
        f"and 1{advised}"
    ]


def in_range(index: Any, size: int, what: str, where: str = "") -> list[int]:
    """An index or several as a list; InputError unless they lie in 0 to size - 1."""
    values = np.atleast_1d(plain_index(index, what))
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        checks.refuse(index, what, "an integer or a list of integers")
    outside = values[(values < 0) | (values >= size)]
    if outside.size:
        raise InputError(f"{what} is {joined(outside)}; it must lie in 0 to {size - 1}{where}.")
    return [int(v) for v in values]
