"""How a model takes its images: which input, in which layout, of which size; and pre-processing as nodes."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .. import checks
from ..arrays import Array, borrow_numbers, namespace
from ..errors import InputError, ModelError
from ..onnxgrad import IMAGE, Graph, Node, TensorType
from .preprocess import Preprocess

_DECLARED = (
    *("float16", "bfloat16", "float32", "float64"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
_MOST = 1 << 32  # numbers in a batch
_FEW = (1, 3, 4)  # sizes of an axis that is taken for the channels
_HIGHEST = np.float32(1 + checks.BEYOND).view(np.uint32)


@dataclass(frozen=True)
class ImageInput:
    """The image input of a model.

    Attributes
    ----------
    name : str
        Of the input tensor, in the file.
    shape : (C, H, W)
    channels_last : bool
        Whether the tensor is (N, H, W, C).
    fixed : int or None
        The number of images that the file fixes; None where it leaves that open.
    declared : str
        NumPy name of the type that the file declares.
    """

    name: str
    shape: tuple[int, int, int]
    channels_last: bool
    fixed: int | None
    declared: str

    @property
    def least(self) -> int:
        """The smallest number of images that the file can be given."""
        return self.fixed or 1

    def tensor_shape(self, batch: int) -> tuple[int, ...]:
        """Shape of the model's own input tensor."""
        c, h, w = self.shape
        return (batch, h, w, c) if self.channels_last else (batch, c, h, w)


def find_image_input(
    model: onnx.ModelProto, fed: Collection[str], layout: str, asked: Sequence[int] | None
) -> ImageInput:
    """The first input with four axes that is not among the constants `fed`.

    Parameters
    ----------
    model : onnx.ModelProto
    fed : collection of str
        Inputs with a constant value.
    layout : {"auto", "nchw", "nhwc"}
    asked : (H, W) or (C, H, W), optional
        Sizes for what the file leaves open.

    Raises
    ------
    ModelError
        There is no such input.
    InputError
        A size is open and not asked for, or asked for and fixed to another.
    """
    for info in model.graph.input:
        dims = known_sizes(info)
        if len(dims) == 4 and info.name not in fed:
            break
    else:
        names = ", ".join(f"{i.name!r}" for i in model.graph.input) or "none"
        raise ModelError(f"no image input (4 axes: batch, channels, height, width) among: {names}")
    declared = declared_type(info)
    if declared not in _DECLARED:
        raise ModelError(f"the image input {info.name!r} is declared {declared}, and an image is of numbers")
    last = layout == "nhwc" or (layout == "auto" and is_channels_last(dims))
    shape = _sizes([dims[3], dims[1], dims[2]] if last else dims[1:], asked)
    if math.prod((dims[0] or 1, *shape)) > _MOST:
        sizes = " x ".join(map(str, (dims[0] or 1, *shape)))
        raise ModelError(
            f"the image input {info.name!r} takes {sizes} numbers, more than can be computed with"
        )
    return ImageInput(info.name, shape, last, dims[0], declared)


def known_sizes(info: onnx.ValueInfoProto) -> list[int | None]:
    """The sizes of an input's axes, None where the file leaves one open."""
    axes = info.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in axes]


def is_channels_last(sizes: Sequence[int | None]) -> bool:
    """Whether an image input of these four sizes is (N, H, W, C), as far as sizes tell."""
    return sizes[1] not in _FEW and sizes[3] in _FEW


def declared_type(info: onnx.ValueInfoProto) -> str:
    """NumPy name of an input's type."""
    return str(np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)))


def _sizes(fixed: list[int | None], asked: Sequence[int] | None) -> tuple[int, int, int]:
    """Channels, height and width: as fixed in the file, else as asked for."""
    wanted = _positive_integers(asked)
    if len(wanted) == 2:
        wanted.insert(0, None)
    sizes = []
    for axis, own, other in zip(("channels", "height", "width"), fixed, wanted or [None] * 3, strict=True):
        if own is not None and other is not None and own != other:
            raise InputError(f"the input has a fixed {axis} of {own}, not {other}")
        size = own or other
        if size is None:
            python, flag = ("(3, 224, 224)", "3x224x224") if fixed[0] is None else ("(224, 224)", "224x224")
            raise InputError(
                f"the input leaves the {axis} open; give a size, "
                f"e.g. input_shape={python} or --input-shape {flag}"
            )
        sizes.append(size)
    return (sizes[0], sizes[1], sizes[2])


def _positive_integers(sizes: Sequence[int] | None) -> list[int | None]:
    """`input_shape` as a list, empty where it is not given."""
    if sizes is None:
        return []
    valid = isinstance(sizes, Sequence) and len(sizes) in (2, 3)
    if not valid or not all(checks.is_integer(d) and d > 0 for d in sizes):
        raise InputError(
            f"input_shape must be (H, W) or (C, H, W), all positive integers, not {checks.shown(sizes)}"
        )
    return [int(d) for d in sizes]


def prepend_preprocessing(
    graph: Graph,
    target: str,
    image_input: ImageInput,
    preprocess: Preprocess,
    batch: int,
    taken: int | None = None,
) -> None:
    """Put "image" (batch, C, H, W) in [0, 1] and its pre-processing in front of the input `target`.

    x = A u + b is one 1x1 convolution, then a Transpose where channels come last. Where `target` takes more
    images than `batch`, black ones fill it up.
    """
    channels, taken = image_input.shape[0], batch if taken is None else taken
    given, image = (TensorType((n, *image_input.shape), np.dtype(np.float32)) for n in (batch, taken))
    kind = graph.inputs.pop(target, TensorType(image_input.tensor_shape(taken), image.dtype))
    graph.inputs[IMAGE], graph.types[target] = given, kind
    nodes, cursor = [], IMAGE
    if taken > batch:
        graph.constants["image/missing"] = np.array([0] * 4 + [taken - batch] + [0] * 3, np.int64)
        nodes.append(Node("Pad", [cursor, "image/missing"], ["image/filled"]))
        cursor = "image/filled"
        graph.types[cursor] = image
    if not preprocess.is_identity:
        matrix, bias = preprocess.matrix_and_bias(channels)
        graph.constants["image/weight"] = matrix.astype(np.float32).reshape(channels, channels, 1, 1)
        graph.constants["image/bias"] = bias.astype(np.float32)
        attrs = {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4}
        nodes.append(Node("Conv", [cursor, "image/weight", "image/bias"], ["image/preprocessed"], attrs))
        cursor = "image/preprocessed"
        graph.types[cursor] = image
    if image_input.channels_last:
        nodes.append(Node("Transpose", [cursor], ["image/transposed"], {"perm": [0, 2, 3, 1]}))
        cursor = "image/transposed"
        graph.types[cursor] = TensorType(kind.shape, image.dtype)
    same = kind.dtype == image.dtype
    cast = {} if same else {"to": helper.np_dtype_to_tensor_dtype(kind.dtype)}
    nodes.append(Node("Identity" if same else "Cast", [cursor], [target], cast))
    graph.nodes[:0] = nodes


def check_image(image: Any, shape: tuple[int, int, int], name: str, bounded: bool = True) -> Array:
    """`image`, of any library, as contiguous float32 (N, C, H, W) for a network of that name and shape.

    An array of NumPy, or of CuPy where it lies on a CUDA device.

    An AssumptionWarning says where it is `bounded` and lies far outside of [0, 1], on the host.

    Raises
    ------
    InputError
        Wrong rank, channels or size; not floating point; not finite, where it lies on the host.
    """
    u = borrow_numbers(image, "the image")
    xp, given_shape, (c, h, w) = namespace(u), u.shape, shape
    if u.dtype.kind != "f":
        given = f"of {u.dtype}" if hasattr(image, "dtype") else f"a {type(image).__name__} of {u.dtype}"
        raise InputError(
            f"an image is an array of floating point numbers in [0, 1], not {given}; "
            f"divide by 255, or let sf.read_image(path, size=({h}, {w}), channels={c}) read it"
        )
    if u.ndim == 3:
        u = u[None]
    if u.ndim != 4 or not len(u):
        raise InputError(f"an image must have shape (N, C, H, W) or (C, H, W), not {given_shape}")
    if u.shape[1] != c:
        raise InputError(f"the image has {u.shape[1]} channels, but {name} takes {c}")
    if u.shape[2:] != (h, w):
        raise InputError(f"the image is {u.shape[2]}x{u.shape[3]}, but {name} takes {h}x{w} (height x width)")
    laid_out: Array = xp.ascontiguousarray(u, np.float32)
    if xp is np:
        _check_values(laid_out, bounded)
    return laid_out


def _check_values(u: np.ndarray, bounded: bool) -> None:
    """Refuse NaN and infinite values, and warn of those far outside of [0, 1] where it is bounded."""
    # as whole numbers, bits of floats from 0 on are in the order of these, and all others come behind
    if u.view(np.uint32).max() <= _HIGHEST:
        return
    low, high = float(u.min()), float(u.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("the image holds NaN or infinite values")
    if bounded:
        checks.say_far_outside("the image", low, high)
