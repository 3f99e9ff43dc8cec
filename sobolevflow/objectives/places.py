"""Where in the image the positions of a layer lie: masks and boxes as weights over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .base import as_array
from .boxes import Box
from .channels import place_axes

if TYPE_CHECKING:
    from ..network import Network


def as_mask(value: Any) -> np.ndarray:
    """An array of any library as weights; InputError unless they lie in [0, 1]."""
    mask = as_array(value, "mask")
    if mask.min() < 0 or mask.max() > 1:
        raise InputError(f"a mask holds weights in [0, 1], not from {mask.min():g} to {mask.max():g}")
    return mask


def weights_over_positions(net: Network, layer: str, mask: np.ndarray, axis: int) -> np.ndarray:
    """A mask over positions, to multiply a layer with: 1 along images and channels.

    Parameters
    ----------
    mask : ndarray
        Of the layer's (H', W'), or of the image's (H, W) and then averaged down.
    axis : int
        Of the channels.
    """
    shape = net.layer_shape(layer)
    size, image = _size_of_map(net, layer, shape, axis), net.input_shape[1:]
    if mask.shape not in (size, image):
        raise InputError(f"a mask has the layer's size {size} or the image's {image}, not {mask.shape}")
    if mask.shape != size:
        turned = mask.T if _columns_first(net, layer, axis) else mask
        rows, columns = (_averaging(n, k) for n, k in zip(turned.shape, size, strict=True))
        mask = rows @ turned @ columns.T
    return _spread(mask, shape, axis)


def weights_in_box(net: Network, layer: str, box: Box, axis: int) -> np.ndarray:
    """How much of the cell of each position lies in a box, to multiply a layer with.

    Parameters
    ----------
    box : tuple of float
        Relative to the image.
    axis : int
        Of the channels.
    """
    shape = net.layer_shape(layer)
    height, width = _size_of_map(net, layer, shape, axis)
    top, left, bottom, right = box
    if _columns_first(net, layer, axis):
        top, left, bottom, right = left, top, right, bottom
    return _spread(np.outer(_shares(top, bottom, height), _shares(left, right, width)), shape, axis)


def _shares(low: float, high: float, count: int) -> np.ndarray:
    """The part of each of `count` cells of [0, 1] that lies between two numbers."""
    cell = np.arange(count)
    return np.asarray(np.clip(np.minimum(high * count, cell + 1) - np.maximum(low * count, cell), 0, None))


def _spread(weights: np.ndarray, shape: Sequence[int], axis: int) -> np.ndarray:
    places = place_axes(len(shape), axis)
    return np.asarray(weights, np.float32).reshape([n if k in places else 1 for k, n in enumerate(shape)])


def _size_of_map(net: Network, layer: str, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """(H', W') of a layer's positions."""
    layout = net.layouts.get(layer)
    grid = None if layout is None or axis not in layout.channel_axes else layout.grid
    if len(shape) == 3 and grid is not None:
        return grid
    if len(shape) == 3:
        raise _not_in_the_image(layer, shape)
    if len(shape) != 4:
        raise InputError(f"a mask needs a layer with positions, but its shape is {shape}")
    return tuple(shape[k] for k in place_axes(4, axis))


def _columns_first(net: Network, layer: str, axis: int) -> bool:
    """Whether the columns of the image come before its rows; InputError where an axis is neither."""
    layout, shape = net.layouts.get(layer), net.layer_shape(layer)
    places = place_axes(len(shape), axis)
    if layout is None:
        return False
    if len(places) == 2 and any(map(_is_no_side, (layout.meanings[k] for k in places))):
        raise _not_in_the_image(layer, shape)
    return layout.columns_first


def _is_no_side(meaning: str) -> bool:
    """Whether an axis is known to be neither rows nor columns, as that of the channels of a head."""
    return len(meaning) > 1 or meaning in ("C", "G")


def _not_in_the_image(layer: str, shape: tuple[int, ...]) -> InputError:
    return InputError(
        f"a mask needs a layer with a map of positions; how those of {layer!r}, of shape {shape}, lie in "
        "the image, the network does not show. Ask for a layer with rows and columns before it"
    )


def _averaging(size: int, out: int) -> np.ndarray:
    """Matrix (out, size) whose rows average equal shares of an axis."""
    edges = np.linspace(0, size, out + 1)
    lo, hi = edges[:-1, None], edges[1:, None]
    cell = np.arange(size)[None, :]
    overlap = np.clip(np.minimum(hi, cell + 1) - np.maximum(lo, cell), 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))
