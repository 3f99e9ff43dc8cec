"""A channel of a map in a part of the image: a box, or what a mask weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import checks
from ..arrays import shape_of
from ..errors import InputError, as_option
from ..named import Option, as_name, index_or_name, named
from .base import ARRAY, Leaf, joined, plain_index, repeated
from .boxes import Box, Boxes, as_boxes, at_box, of_all, relative, spelled_box
from .channels import (
    AXIS,
    as_many_channels,
    axis_elsewhere,
    channel_axis,
    channels_of,
    place_axes,
    probabilities,
    unknown_channels,
)
from .places import as_mask, weights_in_box, weights_over_positions
from .spelling import Unit, of_one_layer, read_weights, spelled

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter

Reduce = Literal["mean", "sum", "max"]

_LOWEST = float(np.finfo(np.float32).min)


def _region(given: Sequence[tuple[Unit, Box | None]], net: Network, images: object, **options: Any) -> Region:
    units, boxes = of_all(given, "--region")
    if all(unit.readings for unit in units):
        layer, channel = of_one_layer("--region", units, net)
    elif any(unit.readings for unit in units):
        raise InputError("several --region are of one layer, or all of classes of the output")
    else:
        classes = [index_or_name(unit.text) for unit in units]
        layer, channel = None, classes[0] if len(classes) == 1 else classes
    if "mask" in options:
        options["mask"] = read_weights(options["mask"], net.input_shape[1:])
    return Region(layer, channel, boxes, **options)


@named(
    "objective",
    "region",
    Option(
        "region_mask",
        "weights over positions, 0 to 1: a picture, or .npy of the size of the layer or of the image",
        "file",
        keyword="mask",
    ),
    Option("reduce", "what is made of the region (default: mean)", "text", ("mean", "sum", "max")),
    AXIS,
    **spelled(
        "LAYER:C|NAME[@Y0,X0,Y1,X1]",
        "mean of a channel, or of a class of a segmentation, in a box relative to the image or in pixels",
        _region,
        parse=at_box(lambda text: Unit(as_name(text), (1,))),
        repeat=True,
        commands=("visualize", "gradient", "attribute"),
    ),
)
@dataclass(frozen=True, eq=False)
class Region(Leaf):
    """Mean of a channel of a map over a region of the image, to be maximised.

    Parameters
    ----------
    layer : str or None
        A layer with positions, as (N, C, H, W), (N, H, W, C) or tokens that are the rows of a map. None is
        the output of a network of dense scores, as a segmentation has; a trailing softmax or sigmoid is
        left out there, as by `Class`.
    channel : int, str, or sequence of them
        Of the layer; of the output the index or name of a class. Several make a batch.
    box : (y0, x0, y1, x1), or list of them, optional
        As NumPy cuts it out of the image that the network sees, ``u[..., y0:y1, x0:x1]``: in pixels, or
        relative to the image, where no number is above 2; (0, 0, 1, 1) is all of it. A list has one for each
        image.
    mask : array, optional
        Weights in [0, 1] over positions, of the map's (H', W') or of the image's (H, W) and then averaged
        down; (N, ...) has one for each image. Without box and mask the region is the whole map.
    reduce : {"mean", "sum", "max"}
        What is made of the region. The mean does not depend on the size of the region, so that several
        compare; the sum weighs every position alike however large the region is; of the maximum, over all
        positions that the region touches, the gradient is that of the position that is highest now.
    axis : int, optional
        Axis of the channels; -1 is the last. Default: where the network shows that they are, else 1.

    Notes
    -----
    The positions of a map are taken as the centres of equal cells of the image. A cell that a box covers in
    part counts by that part. Channel, box and mask are runtime inputs: another builds nothing anew.
    """

    layer: str | None  # type: ignore[assignment]  # that of the network where it is None
    channel: int | str | Sequence[int | str]
    box: Boxes = None
    mask: Any = field(default=None, metadata=ARRAY)
    reduce: Reduce = "mean"
    axis: int | None = None

    __repr__ = checks.summary

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channel", plain_index(self.channel, "channel", names=True))
        checks.one_of(self.reduce, "reduce", ("mean", "sum", "max"))
        if self.box is not None:
            object.__setattr__(self, "box", as_boxes(self.box))
            if self.mask is not None:
                raise InputError("a region is a box or a mask; leave out one of them")
        elif self.mask is not None and len(shape_of(self.mask)) not in (2, 3):
            checks.refuse(self.mask, "the mask of a region", "an array of shape (H, W), or (N, H, W)")

    @property
    def at_a_place(self) -> bool:  # type: ignore[override]  # of others it is the same for all
        """Whether it is of a part of the image."""
        return self.box is not None or self.mask is not None

    def tensor(self, net: Network) -> str:
        return _dense_output(net) if self.layer is None else self.layer

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self._axis(net), self.reduce == "max")

    def _axis(self, net: Network) -> int:
        return channel_axis(net, self.tensor(net), self.axis)

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        axis, region = self._axis(net), emit.parameter("region")
        places = place_axes(len(x.shape), axis)
        if self.reduce == "max":
            inside = emit.where(emit.op("Greater", region, 0), x, _LOWEST)
            reduced = emit.op("ReduceMax", inside, emit.ints(places), keepdims=0)
        else:
            reduced = emit.sum(x * region, places)
        return emit.sum(reduced * emit.one_hot("channel", x.shape[axis]), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        channels = np.array(channels_of(net, self._at_layer(net)), np.int64)
        weights = self._weights(net)
        totals = weights.sum(axis=tuple(range(1, weights.ndim)), keepdims=True, dtype=np.float64)
        if not totals.all():
            raise InputError(f"the region of {self} is empty: its weights are zero throughout")
        if self.reduce == "mean":
            weights = (weights / totals).astype(np.float32)
        return {
            "channel": repeated(channels, batch, f"channel of {self.tensor(net)!r}"),
            "region": repeated(weights, batch, "regions"),
        }

    def _weights(self, net: Network) -> np.ndarray:
        """How much each position counts, one entry for all images or for each."""
        layer, axis = self.tensor(net), self._axis(net)
        if self.mask is not None:
            masks = as_mask(self.mask)
            each = masks if masks.ndim == 3 else masks[None]
            return np.concatenate([weights_over_positions(net, layer, mask, axis) for mask in each])
        boxes = [relative(box, net.input_shape[1:]) for box in self.box or ((0.0, 0.0, 1.0, 1.0),)]  # type: ignore[arg-type]
        return np.concatenate([weights_in_box(net, layer, box, axis) for box in boxes])

    def _at_layer(self, net: Network) -> Region:
        """The same with the layer that it looks at, and channels by their indices."""
        layer = self.tensor(net)
        count = net.layer_shape(layer)[channel_axis(net, layer, self.axis)]
        classes = net.classes_among(count)
        several = isinstance(self.channel, (list, tuple, range))
        each: list[Any] = list(self.channel) if several else [self.channel]  # type: ignore[arg-type]
        by_class = self.layer is None
        indices = [classes.output_index(k) if by_class or isinstance(k, str) else k for k in each]
        return replace(self, layer=layer, channel=indices if several else indices[0])

    def notes(self, net: Network) -> list[str]:
        own = self._at_layer(net)
        return [*unknown_channels(net, own), *probabilities(net, own, channels_of(net, own))]

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        own = self._at_layer(net)
        channel, axis = int(np.atleast_1d(own.channel)[0]), axis_elsewhere(net, own, layer)
        box = None if self.box is None else self.box[0]
        given = {"box": box, "axis": axis} | ({"mask": "mask"} if self.mask is not None else {})
        python = "".join(
            f", {name}={value if name != 'mask' else 'mask'}"
            for name, value in given.items()
            if value is not None
        )
        where = "" if box is None else f"@{spelled_box(box)}"  # type: ignore[arg-type]
        flags = "" if self.mask is None else " --region-mask FILE"
        flags += "" if axis is None else f" --axis {axis}"
        return (
            f"sf.Region({layer!r}, {channel}{python})",
            as_option("region", f"{layer}:{channel}{where}") + flags,
        )

    def fits(self, layer: str, net: Network) -> bool:
        return as_many_channels(net, self._at_layer(net), layer)

    def arrays_of_images(self, net: Network) -> Sequence[str]:
        return ("mask",) if self.mask is not None and len(shape_of(self.mask)) == 3 else ()

    @property
    def natural_batch(self) -> int:
        masks = 1 if self.mask is None or len(shape_of(self.mask)) == 2 else shape_of(self.mask)[0]
        named = isinstance(self.channel, str)
        channels = 1 if named else np.size(self.channel)
        return max(channels, len(self.box or ()), masks)

    def __str__(self) -> str:
        where = " under a mask" if self.mask is not None else ""
        if self.box is not None:
            where = " in " + " and ".join(map(spelled_box, self.box))
        return f"channel {joined(self.channel)} of {self.layer or 'the output'}{where}"


def _dense_output(net: Network) -> str:
    """The output that has scores at each position, without a trailing softmax or sigmoid of them."""
    shapes = {name: net.shapes.get(name) for name in net.outputs}
    usual = net.classes_of().output
    for name in sorted(shapes, key=lambda each: each != usual):
        if len(shapes[name] or ()) != 4:
            continue
        before = net.classes_of(name).layer
        return before if net.shapes.get(before) == shapes[name] else name
    listed = ", ".join(f"{name!r} of shape {shape}" for name, shape in shapes.items())
    raise InputError(
        f"{net.name}: no output has scores at each position, (N, classes, H, W) or (N, H, W, classes), but "
        f"{listed}; name a layer with rows and columns: sf.Region(layer, channel)"
    )
