"""Where the images of a batch lie in each layer, and the layer with its images first.

Most layers have them on their first axis. Of a head that is time-major, (T, N, C), they are on the second;
of a map cut into windows, (N nW, 49, C), on the first together with the windows; a ``squeeze()`` drops their
axis where there is one image. Users see none of that: a layer is shown as (N, T, C), (N, nW, 49, C), (N, C).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx

from ..errors import InputError, ModelError
from ..onnxgrad import Graph, Limits, TensorType, Weights
from .following import follow
from .image_input import ImageInput
from .layers import emptied, layer_types
from .layout import IMAGES, UNKNOWN, Axis, Layout


@dataclass(frozen=True)
class Place:
    """Where a layer keeps its images.

    Attributes
    ----------
    axis : int or None
        Of the layer as the file has it; None where it has none for them, and all of it belongs to one image.
    before, after : int
        The lengths of what lies on that axis outside of the images and inside: (1, nW) of (N nW, 49, C).
    """

    axis: int | None = 0
    before: int = 1
    after: int = 1

    @property
    def is_first(self) -> bool:
        """Whether the layer has its images first as it is."""
        return self == FIRST

    def shown(self, shape: Sequence[int], batch: int) -> tuple[int, ...]:
        """The shape with images first of a layer that has this shape with `batch` images."""
        if self.axis is None:
            return (batch, *shape)
        beside = () if self.before * self.after == 1 else (self.before * self.after,)
        return (batch, *shape[: self.axis], *beside, *shape[self.axis + 1 :])

    def show(self, graph: Graph, name: str, batch: int) -> str:
        """Append what puts the images of a tensor first; return the name of the result."""
        if self.is_first:
            return name
        shape = graph.shape(name)
        if self.axis is None or batch == 1:
            return _reshaped(graph, name, self.shown(shape, batch))
        divided, order = self._divided(shape, batch)
        turned = _transposed(graph, _reshaped(graph, name, divided), order)
        return _reshaped(graph, turned, self.shown(shape, batch))

    def undo(self, graph: Graph, name: str, shape: Sequence[int], batch: int) -> str:
        """Append the inverse of `show`, back to that shape."""
        if self.is_first:
            return name
        if self.axis is None or batch == 1:
            return _reshaped(graph, name, shape)
        divided, order = self._divided(shape, batch)
        back = _transposed(
            graph, _reshaped(graph, name, [divided[k] for k in order]), np.argsort(order).tolist()
        )
        return _reshaped(graph, back, shape)

    def images(self, shape: Sequence[int]) -> int:
        """How many images a layer of this shape has."""
        return 1 if self.axis is None else shape[self.axis] // (self.before * self.after)

    def _divided(self, shape: Sequence[int], batch: int) -> tuple[list[int], list[int]]:
        """The shape with the images on an axis of their own, and the order that puts it first."""
        assert self.axis is not None
        divided = [*shape[: self.axis], self.before, batch, self.after, *shape[self.axis + 1 :]]
        own = self.axis + 1
        return divided, [own, *(k for k in range(len(divided)) if k != own)]

    def layout(self, layout: Layout, shown: Sequence[int]) -> Layout:
        """What the axes of the layer mean when its images come first."""
        if self.is_first:
            return layout
        rest = [tuple(factor for factor in axis if factor[0] != IMAGES) for axis in layout.axes]
        if self.axis is not None:
            beside = [rest[self.axis]] if self.before * self.after > 1 else []
            rest = [*rest[: self.axis], *beside, *rest[self.axis + 1 :]]
        axes: list[Axis] = [((IMAGES, 1),)]
        for axis, size in zip(rest, shown[1:], strict=True):
            fits = math.prod(length for _, length in axis) == size
            axes.append(axis if fits else ((UNKNOWN, size),))
        return Layout(tuple(axes))


FIRST, WHOLE = Place(), Place(None)


def _reshaped(graph: Graph, name: str, shape: Sequence[int]) -> str:
    if graph.shape(name) == tuple(shape):
        return name
    target = graph.add_constant(np.array(shape, np.int64))
    return _appended(graph, "Reshape", [name, target], tuple(shape))


def _transposed(graph: Graph, name: str, order: Sequence[int]) -> str:
    shape = graph.shape(name)
    if [k for k in order if shape[k] > 1] == [k for k in range(len(shape)) if shape[k] > 1]:
        return _reshaped(graph, name, [shape[k] for k in order])
    return _appended(graph, "Transpose", [name], tuple(shape[k] for k in order), perm=list(order))


def _appended(graph: Graph, op: str, inputs: Sequence[str], shape: tuple[int, ...], **attrs: object) -> str:
    dtype = graph.type(inputs[0]).dtype
    made = graph.add(op, inputs, output=graph.fresh(f"{inputs[0]}/by_image"), **attrs)
    graph.types[made] = TensorType(shape, dtype)
    return made


class Places:
    """What shapes tell of a network: types, layouts, and where each tensor keeps its images.

    Parameters
    ----------
    model : onnx.ModelProto
    image_input : ImageInput
    feeds : mapping
        The values of other inputs.
    weights : Weights
    limits : Limits
        Of the run that shows what inference does not.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        image_input: ImageInput,
        feeds: Mapping[str, np.ndarray],
        weights: Weights,
        limits: Limits,
    ) -> None:
        self._model, self._input, self._feeds, self._weights = model, image_input, feeds, weights
        self._limits = limits
        self._batch = image_input.least
        self._found: dict[str, Place | None] = {}

    def _types_of(self, batch: int) -> tuple[dict[str, TensorType], ModelError | None]:
        shape = self._input.tensor_shape(batch)
        return layer_types(self._model, self._input.name, shape, self._feeds, self._weights, self._limits)

    def _layouts_of(self, batch: int, types: Mapping[str, TensorType]) -> dict[str, Layout]:
        shapes = {name: kind.shape for name, kind in types.items()}
        meanings = "NHWC" if self._input.channels_last else "NCHW"
        taken = Layout.of(meanings, self._input.tensor_shape(batch))
        return follow(self._model, self._input.name, taken, shapes)

    @cached_property
    def _seen(self) -> tuple[dict[str, TensorType], ModelError | None]:
        return self._types_of(self._batch)

    @property
    def types(self) -> dict[str, TensorType]:
        """The types that tensors have in the file, with as many images as it fixes, else one."""
        return self._seen[0]

    @property
    def problem(self) -> ModelError | None:
        """Why some types are missing."""
        return self._seen[1]

    @cached_property
    def in_file(self) -> dict[str, Layout]:
        """The layouts of the tensors as they are in the file."""
        return self._layouts_of(self._batch, self.types)

    @cached_property
    def _twice(self) -> tuple[dict[str, TensorType], dict[str, Layout]]:
        """Types and layouts with twice as many images; what is missing does not run on as many."""
        types, _ = self._types_of(2 * self._batch)
        return types, self._layouts_of(2 * self._batch, types)

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """The layouts of the tensors with their images first."""
        found = {}
        for name, layout in self.in_file.items():
            shown = self.shown(name) if name in self.types else None
            place = self.place(name) if shown is not None else FIRST
            found[name] = layout if shown is None or place is None else place.layout(layout, shown)
        return found

    def shown(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor of one image, that first; None where it is not known."""
        kind = self.types.get(name)
        if kind is None:
            return None
        place = self.place(name)
        if place is None:
            return (1, *kind.shape)
        return (1, *place.shown(kind.shape, self._batch)[1:])

    @cached_property
    def _emptied(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return emptied(self._model.graph.node, self._input.name, self.types)

    def check_not_empty(self, network: str, name: str) -> None:
        """ModelError where nothing is left of the image on the way to a layer."""
        if name in self._emptied:
            (at, shape), (c, h, w) = self._emptied[name], self._input.shape
            raise ModelError(
                f"{network}: an image of {c}x{h}x{w} is too small: nothing is left of it in layer {at!r}, "
                f"of shape {shape}; give a larger size, input_shape=(H, W) (--input-shape)"
            )

    def place(self, name: str) -> Place | None:
        """Where a tensor keeps its images; None where that cannot be told of several."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def place_in(self, name: str, shape: Sequence[int], batch: int) -> Place | None:
        """As `place`, of a tensor that has this shape with so many images: one may be without their axis."""
        kind = self.types.get(name)
        if kind is None and not shape:
            return WHOLE if batch == 1 else None
        squeezed = batch == 1 and kind is not None and len(shape) < len(kind.shape)
        return WHOLE if squeezed else self.place(name)

    def _find(self, name: str) -> Place | None:
        kind = self.types.get(name)
        if kind is None or self._seems_first(name, kind.shape):
            return FIRST
        axis, layout, batch = self._axis(name, kind.shape)
        if axis is None or kind.shape[axis] % self._batch:
            return WHOLE if self._batch == 1 else None
        beside = kind.shape[axis] // self._batch
        before = 1 if layout is None else _outside(layout.axes[axis], batch, beside)
        return Place(axis, before, beside // before)

    def _axis(self, name: str, shape: Sequence[int]) -> tuple[int | None, Layout | None, int]:
        """The axis of the images, and a layout that says what else is on it, with so many images."""
        layout = self.in_file.get(name)
        named = None if layout is None else _named(layout, self._batch)
        fixed = self._input.fixed  # then more images are not what the file is made for
        if named is not None and fixed is not None and (fixed > 1 or shape[named] == 1):
            return named, layout, self._batch
        types, layouts = self._twice
        doubled = doubled_axis(shape, types[name].shape) if name in types else None
        if doubled is not None or (name in types and fixed is None):
            return doubled, layouts.get(name), 2 * self._batch
        return named, layout, self._batch

    def _seems_first(self, name: str, shape: tuple[int, ...]) -> bool:
        if not shape or shape[0] != self._batch:
            return False
        layout = self.in_file.get(name)
        if layout is None or IMAGES in layout.meanings[0]:
            return True
        return not any(IMAGES in meaning for meaning in layout.meanings)


def untold(network: str, layer: str) -> InputError:
    """The error that says that a layer has no place for its images that could be told."""
    return InputError(f"{network}: where layer {layer!r} keeps its images cannot be told")


def doubled_axis(one: Sequence[int], two: Sequence[int]) -> int | None:
    """The only axis on which two shapes differ, where the second is twice as long."""
    if len(one) != len(two):
        return None
    differing = [k for k in range(len(one)) if one[k] != two[k]]
    return differing[0] if len(differing) == 1 and two[differing[0]] == 2 * one[differing[0]] else None


def _named(layout: Layout, batch: int) -> int | None:
    """The only axis that a layout says to hold as many images."""
    held = [k for k, axis in enumerate(layout.axes) if (IMAGES, batch) in axis]
    return held[0] if len(held) == 1 else None


def _outside(axis: Axis, batch: int, beside: int) -> int:
    """The length of what lies outside of the images on an axis; 1 where the factors do not tell."""
    if (IMAGES, batch) not in axis or math.prod(length for _, length in axis) != batch * beside:
        return 1
    before = math.prod(length for _, length in axis[: axis.index((IMAGES, batch))])
    return before if beside % before == 0 else 1
