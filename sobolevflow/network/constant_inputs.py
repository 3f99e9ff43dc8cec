"""Inputs beside the image, fixed to a value: arrays as they are, and pictures, which are pre-processed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from .. import checks
from ..arrays import borrow_numbers, to_host
from ..errors import InputError, MissingInputError, UnknownNameError, did_you_mean
from ..onnxgrad import describe_missing, reads
from ..pictures import read_image
from .image_input import ImageInput, check_image, declared_type, is_channels_last, known_sizes
from .preprocess import Preprocess

_FEWEST_LEVELS = 16  # whole numbers from black to white, below which a picture cannot be meant

Said = Preprocess | str | os.PathLike[str] | dict[str, Any] | None
"""What a user may say of pre-processing."""


@dataclass(frozen=True, eq=False)
class Image:
    """A picture for an input beside the image, as the second one of a network that compares two.

    ``sf.load(model, inputs={"other": sf.Image(photo)})`` pre-processes it as the network wants its images: by
    scale, mean, std and order, in the layout and type of that input. A plain array goes in as it is.

    Parameters
    ----------
    picture : array, shape (C, H, W) or (1, C, H, W), or path
        Floating point, in [0, 1], of any library, and of the size that the input takes. A file is read, and
        fitted to that size where the model fixes it, as by `read_image`.
    preprocess : Preprocess, str, path or dict, optional
        For an input that wants it otherwise than the network's image. Default: as that.
    range, page : optional
        Of a file, as of `read_image`.

    Examples
    --------
    >>> net = load("siamese.onnx", preprocess="torch", inputs={"b": Image("b.jpg")})  # doctest: +SKIP
    """

    picture: Any
    preprocess: Said = None
    range: Sequence[float] | Literal["auto"] | None = None
    page: int | None = None

    def __post_init__(self) -> None:
        Preprocess.of(self.preprocess)  # a mistake in it should not wait for a network
        if self._is_file:
            checks.path(self.picture, "a picture")
        if not self._is_file and not (self.range is None and self.page is None):
            raise InputError("range and page are of picture files; bring an array to [0, 1] yourself.")

    __repr__ = checks.summary

    @property
    def _is_file(self) -> bool:
        return isinstance(self.picture, (str, os.PathLike))

    def _array(self, sizes: tuple[int | None, int | None, int | None]) -> np.ndarray:
        """The picture, (C, H, W) or (N, C, H, W); a file as an input of (C, H, W) wants it."""
        if not self._is_file:
            return to_host(borrow_numbers(self.picture, "a picture"))
        channels, *size = sizes
        if not channels:
            raise InputError(
                f"an input of any number of channels cannot be read from {str(self.picture)!r}; build it as "
                "an array"
            )
        if (size[0] is None) != (size[1] is None):
            raise InputError(
                f"an input that fixes one side only is not fitted: read {str(self.picture)!r} by "
                "sf.read_image(path, size=(height, width)) and give the array"
            )
        fixed = None if size[0] is None or size[1] is None else (size[0], size[1])
        return read_image(self.picture, size=fixed, channels=channels, range=self.range, page=self.page)


@dataclass(frozen=True)
class Surroundings:
    """What a picture is made ready by: the network's name, its image input, and what was said of that."""

    network: str
    image_input: ImageInput
    preprocess: Said


def check_inputs(network: str, model: onnx.ModelProto, inputs: Mapping[str, Any]) -> None:
    """Refuse a value for an input that does not exist, or that is none.

    Raises
    ------
    UnknownNameError
        There is no such input; lists near matches.
    InputError
        A value is neither a picture nor an array of numbers, or of text where the input takes that; or the
        input takes no tensor at all.
    """
    infos = {info.name: info for info in model.graph.input}
    for name, value in inputs.items():
        if name not in infos:
            checks.text(name, f"{network}: the name of an input")
            raise UnknownNameError(f"{network}: no input {name!r}.{did_you_mean(name, infos)}")
        if not takes_a_tensor(infos[name]):
            raise InputError(f"{network}: {_no_tensor(infos[name])}")
        if isinstance(value, Image):
            continue
        what = f"{network}: input {name!r}"
        if not _takes_text(infos[name]):
            _numbers(value, what)
        elif np.asarray(value).dtype.kind not in "USO":
            raise InputError(f"{what} takes an array of text")


def _numbers(value: Any, what: str) -> np.ndarray:
    """An array of any library as one of NumPy; InputError unless it holds numbers."""
    try:
        return to_host(borrow_numbers(value, what))
    except InputError as error:
        raise InputError(
            f"{what} takes an array of numbers, or a picture as sf.Image ({error.full})"
        ) from None


def with_values_for_defaults(model: onnx.ModelProto, inputs: Collection[str]) -> onnx.ModelProto:
    """The model without the defaults of inputs that are given a value; itself where there are none."""
    own = {info.name for info in model.graph.input}.intersection(inputs)
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in own]
    if len(kept) == len(model.graph.initializer):
        return model
    without = onnx.ModelProto()
    without.CopyFrom(model)
    del without.graph.initializer[:]
    without.graph.initializer.extend(kept)
    return without


def takes_a_tensor(info: onnx.ValueInfoProto) -> bool:
    """Whether an input is a tensor, and no sequence, map, optional or sparse one."""
    return str(info.type.WhichOneof("value")) == "tensor_type"


def _takes_text(info: onnx.ValueInfoProto) -> bool:
    return bool(info.type.tensor_type.elem_type == onnx.TensorProto.STRING)


def _no_tensor(info: onnx.ValueInfoProto) -> str:
    kind = str(info.type.WhichOneof("value")).removesuffix("_type").replace("_", " ")
    return (
        f"input {info.name!r} takes no tensor (its type is: {kind}), and such a value cannot be given; "
        "export the network without it"
    )


@dataclass(frozen=True)
class Missing:
    """The inputs of a model that have to be fed, beside the image, and have no value.

    Attributes
    ----------
    inputs : dict
        What the model declares of them, by name.
    waiting : dict
        The tensors that depend on one of them, each with its name; the inputs included.
    """

    inputs: dict[str, onnx.ValueInfoProto]
    waiting: dict[str, str]

    @classmethod
    def of(cls, model: onnx.ModelProto, image: str, given: Collection[str]) -> Missing:
        """Those of a model, whose image goes into an input of that name."""
        beside = (info for info in model.graph.input if info.name != image)
        inputs = {info.name: info for info in beside if info.name not in given}
        return cls(inputs, _waiting_for(model, inputs))

    def wanted_by(self, layers: Iterable[str]) -> list[str]:
        """What to say of the inputs that some layers depend on; empty where they have all values."""
        wanted = {self.waiting[layer] for layer in layers if layer in self.waiting}
        return [needs_a_value(info) for name, info in self.inputs.items() if name in wanted]

    def check(self, network: str, layers: Iterable[str]) -> None:
        """MissingInputError where a layer depends on an input without a value."""
        for what in self.wanted_by(layers):
            raise MissingInputError(f"{network}: {what}")


def _waiting_for(model: onnx.ModelProto, inputs: Iterable[str]) -> dict[str, str]:
    """The tensors that depend on any of these inputs, each with the first of them; the inputs included."""
    waiting = {name: name for name in inputs}
    for node in model.graph.node:
        first = next((waiting[x] for x in reads(node) if x in waiting), None)
        if first is not None:
            waiting.update((y, first) for y in node.output if y)
    return waiting


def without_open_inputs(
    model: onnx.ModelProto, missing: Mapping[str, onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """The model without what depends on an input of open axes that has no value; else itself.

    Whatever size such an axis were given, the types of what is behind would be those of a guess.
    """
    guessed = _waiting_for(model, [name for name, info in missing.items() if not _is_static(info)])
    if not guessed:
        return model
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    for field in (cut.graph.input, cut.graph.output):
        kept = [info for info in field if info.name not in guessed]
        del field[:]
        field.extend(kept)
    nodes = [node for node in cut.graph.node if guessed.keys().isdisjoint([*reads(node), *node.output])]
    del cut.graph.node[:]
    cut.graph.node.extend(nodes)
    return cut


def _is_static(info: onnx.ValueInfoProto) -> bool:
    """Whether an input is a tensor of numbers of one known shape."""
    tensor = info.type.tensor_type
    known = takes_a_tensor(info) and tensor.HasField("shape") and not _takes_text(info)
    return bool(known) and None not in known_sizes(info)


def needs_a_value(info: onnx.ValueInfoProto) -> str:
    """What to say of an input that has no value: its name, type and shape, and how to give it one."""
    return describe_missing(info) if takes_a_tensor(info) else _no_tensor(info)


def as_arrays(
    model: onnx.ModelProto, inputs: Mapping[str, Any], beside: Surroundings
) -> dict[str, np.ndarray]:
    """The values of inputs as the model takes them: pictures are pre-processed.

    Raises
    ------
    InputError
        A picture does not fit its input, or becomes numbers that its type does not hold, as those of an
        array may be.
    """
    infos = {info.name: info for info in model.graph.input}
    return {
        name: _prepared(value, infos[name], beside)
        if isinstance(value, Image)
        else _held(value, infos[name], beside.network)
        for name, value in inputs.items()
    }


def _held(value: Any, info: onnx.ValueInfoProto, network: str) -> np.ndarray:
    """A plain value as it is, unless its input is of whole numbers that it does not hold."""
    if _takes_text(info):
        return _of_shape(np.asarray(value).astype(str), info, network)
    declared, array = declared_type(info), _of_shape(to_host(borrow_numbers(value)), info, network)
    if "int" not in declared or np.can_cast(array.dtype, declared):
        return array
    limits = np.iinfo(declared)
    if not (array == np.clip(np.rint(array), limits.min, limits.max)).all():
        raise InputError(
            f"{network}'s input {info.name!r} takes {declared}, and not all of its array, "
            f"from {array.min():.4g} to {array.max():.4g}; round it, or give a picture as sf.Image(array)"
        )
    return array


def _of_shape(array: np.ndarray, info: onnx.ValueInfoProto, network: str) -> np.ndarray:
    """A value of the shape that its input declares; a single number has as many axes as are wanted."""
    if not info.type.tensor_type.HasField("shape"):
        return array
    sizes = known_sizes(info)
    if array.size == 1 and all(size in (None, 1) for size in sizes):
        return array.reshape([1] * len(sizes))
    fits = array.ndim == len(sizes) and all(
        size in (None, n) for size, n in zip(sizes, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(d.dim_param or str(d.dim_value or "?") for d in info.type.tensor_type.shape.dim)
        raise InputError(f"{network}'s input {info.name!r} is of shape ({wanted}), not {array.shape}")
    return array


def _prepared(image: Image, info: onnx.ValueInfoProto, beside: Surroundings) -> np.ndarray:
    """A picture as its input takes it."""
    name, sizes, declared = f"{beside.network}'s input {info.name!r}", known_sizes(info), declared_type(info)
    if len(sizes) != 4:
        shape = ", ".join("?" if size is None else str(size) for size in sizes)
        raise InputError(f"{name} of shape ({shape}) takes no picture; give it an array, without sf.Image")
    own = image.preprocess is not None
    said = image.preprocess if own else beside.preprocess
    preprocess, _ = Preprocess.for_input(said, info.name, declared)
    last = _channels_last(preprocess.layout, sizes, beside.image_input.channels_last)
    channels, height, width = (sizes[3], sizes[1], sizes[2]) if last else (sizes[1], sizes[2], sizes[3])
    u = image._array((channels or beside.image_input.shape[0], height, width))
    if u.ndim in (3, 4):
        c, h, w = u.shape[-3:]
        u = check_image(u, (channels or c, height or h, width or w), name)
    if u.ndim != 4 or len(u) != 1:
        raise InputError(f"{name} takes one picture, (C, H, W) or (1, C, H, W), not {u.shape}")
    matrix, bias = preprocess.matrix_and_bias(u.shape[1])
    x = np.einsum("dc,nchw->ndhw", matrix, u.astype(np.float64)) + bias[:, None, None]
    if "int" in declared:
        x = _whole(x, matrix, declared, name)
    return np.asarray(x.transpose(0, 2, 3, 1) if last else x, declared, order="C")


def _channels_last(layout: str, sizes: list[int | None], of_image: bool) -> bool:
    """Whether an input has its channels last: as said, as its sizes tell, or as the image has them."""
    if layout != "auto":
        return layout == "nhwc"
    return of_image if sizes[1] is sizes[3] is None else is_channels_last(sizes)


def _whole(x: np.ndarray, matrix: np.ndarray, declared: str, name: str) -> np.ndarray:
    """Pre-processed values as whole numbers of a type, unless next to nothing is left of them."""
    limits, rounded = np.iinfo(declared), np.asarray(np.rint(x))
    inside = rounded.min() >= limits.min and rounded.max() <= limits.max
    if not inside or np.abs(matrix).sum(axis=1).max() < _FEWEST_LEVELS:
        raise InputError(
            f"{name} takes {declared}, but the pre-processing gives numbers from {x.min():.4g} to "
            f'{x.max():.4g}; say what this one wants: sf.Image(picture, preprocess={{"scale": 255}})'
        )
    return rounded


def taken_as_they_are(model: onnx.ModelProto, inputs: Mapping[str, Any], channels: int) -> list[str]:
    """The inputs that are given an array which could be a picture, (1, C, H, W) or (1, H, W, C) in [0, 1]."""
    numbers = [info.name for info in model.graph.input if not _takes_text(info)]
    return [name for name in numbers if _may_be_a_picture(inputs.get(name), channels)]


def _may_be_a_picture(value: Any, channels: int) -> bool:
    if value is None or isinstance(value, Image):
        return False
    array = to_host(borrow_numbers(value))
    shaped = array.ndim == 4 and channels in (array.shape[1], array.shape[3]) and array.size > 0
    return shaped and array.dtype.kind == "f" and bool(array.min() >= 0 and array.max() <= 1)
