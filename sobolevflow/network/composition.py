"""A generator network in front of a classifier: descent in the function space of the generator.

The regulariser is then what the generator can draw (Nguyen et al., NIPS 2016; the *function space* row of the
paper's Table 2). Both networks become one ONNX model from latent code to score, so that value and gradient by
the code are one graph, like those of any other network.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, compose as onnx_compose, helper, numpy_helper, version_converter

from .. import checks
from ..arrays import AnyArray, borrow_numbers, hand_back, to_host
from ..capacity import check_fits
from ..errors import InputError
from ..models import builtin_or_path
from ..onnxgrad import Limits, as_loaded, as_model_error, check_loops, opset_of, read_model, run_within
from .constant_inputs import Image, with_values_for_defaults
from .image_input import declared_type
from .isolation import look_apart
from .loading import load
from .network import Network
from .preprocess import Preprocess
from .real_numbers import take_real_numbers
from .source import options_of, place

LATENT, PICTURE = "latent", "picture"

_PREFIX = "generator/"

_ROOM_TO_DRAW = 3 << 30  # bytes that a generator may need itself

_RESIZES = 13  # the opset from which on all nodes in between exist as they are written here

Source = str | os.PathLike[str] | bytes | onnx.ModelProto


def compose(
    generator: Source,
    network: Source,
    *,
    values: tuple[float, float] = (-1.0, 1.0),
    inputs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Network:
    """The network that scores what a generator draws.

    Parameters
    ----------
    generator : path, bytes or onnx.ModelProto
        From codes (N, d) or (N, c, h, w) to pictures (N, C, H, W) or (N, H, W, C).
    network : path, bytes, onnx.ModelProto or "builtin:NAME"
        What the pictures are shown to, fitted to its size by linear interpolation where sizes differ.
    values : (float, float)
        What the generator draws black and white as: -1 and 1 behind a tanh, 0 and 1 behind a sigmoid.
    inputs : mapping of str to array or Image, optional
        Constant values for every input of the generator other than the code, such as a class, and for those
        of the network other than its image: arrays of any library. A name that both have is the generator's.
    **options
        `preprocess`, `labels`, `background`, `input_shape`, `threads` and `output`, as of `load`, for
        `network`; `limits` and `isolate` for both.

    Returns
    -------
    Network
        Its image is the code, (N, d, 1, 1) or (N, c, h, w), without bounds, and `Network.latent` is true. The
        layers of both networks can be asked for, those of the generator under ``generator/...``;
        ``picture`` is what is drawn, in [0, 1]. `visualize` descends along the code by Adam, from normal
        noise, and returns the pictures as ``result.image``.

    Raises
    ------
    ModelError
        One of the files cannot be read, the two cannot be brought to one opset, or an input of the network
        has no value.
    InputError
        The generator has inputs without a value, or draws no pictures of the network's channels.

    Examples
    --------
    >>> latent = compose("gan.onnx", "vgg19.onnx", preprocess="caffe")  # doctest: +SKIP
    >>> visualize(latent, Class(121)).save("crab.png")  # doctest: +SKIP
    """
    limits = Limits.of(options.get("limits"))
    black_and_white = _black_and_white(values)
    others = {} if inputs is None else checks.items(inputs, "inputs", "a mapping of names to arrays or Image")
    if isinstance(generator, str | os.PathLike):
        generator = checks.path(generator, "a generator")
    if checks.flag(options.pop("isolate", False), "isolate"):
        unnamed = {key: value for key, value in options.items() if key not in ("labels", "limits")}
        look_apart("compose", (generator, network), limits, {**unnamed, "values": values, "inputs": inputs})
    first = read_model(generator)
    own = {info.name: others.pop(info.name) for info in first.graph.input if info.name in others}
    pictures_given = [name for name, value in own.items() if isinstance(value, Image)]
    if pictures_given:
        raise InputError(
            f"the generator's input {pictures_given[0]!r} takes an array; pre-processing is for pictures "
            "that the network is shown"
        )
    net = load(network, inputs=others, **options)
    net.missing.check(net.name, net.missing.inputs)
    first, second = _same_opset(
        as_loaded(first, limits), as_loaded(read_model(builtin_or_path(network)), limits)
    )
    second = with_values_for_defaults(second, others)
    take_real_numbers(second, net.input_name)
    given = _as_declared(first, own)
    drawing = _tried(first, given, net, limits)
    first = onnx_compose.add_prefix(first, _PREFIX)
    code = _PREFIX + drawing.code
    nodes = [
        *_to_code(drawing.code_shape, code),
        *first.graph.node,
        *_to_picture(_PREFIX + drawing.output, drawing, net),
        *_to_input(net, _taken(second, net.input_name)),
        *second.graph.node,
    ]
    constants = [
        *first.graph.initializer,
        *second.graph.initializer,
        *_constants(drawing, black_and_white, net),
    ]
    constants += [numpy_helper.from_array(v, _PREFIX + k) for k, v in given.items()]
    constants += [_held(second, name, value) for name, value in net.feeds.items()]
    graph = helper.make_graph(
        nodes,
        "composed",
        [helper.make_tensor_value_info(LATENT, TensorProto.FLOAT, ["N", *_as_image(drawing.code_shape)])],
        list(second.graph.output),
        constants,
        value_info=[*first.graph.value_info, *second.graph.value_info],
    )
    model = helper.make_model(
        graph, opset_imports=list(second.opset_import), functions=list(second.functions)
    )
    model.ir_version = max(first.ir_version, second.ir_version)
    composed = Network(
        model,
        name=f"{net.name} behind a generator",
        preprocess=Preprocess(layout="nchw"),
        labels=net.labels,
        background=net.background if net.background is not None else net.offset,
        threads=net.threads,
        output=net.classes_of().output,
        limits=limits,
    )
    composed.files = net.files + ((Path(generator),) if isinstance(generator, (str, os.PathLike)) else ())
    composed.latent, composed.input_notes = True, net.input_notes
    assert net.source is not None  # `load` opened it
    of_inputs, arrays = options_of(None, None, {**net.feeds, **given})
    options = {**net.source.options, "inputs": of_inputs["inputs"]}
    low, high = (float(value) for value in values)
    composed.source = replace(
        net.source, options=options, arrays=arrays, generator=place(generator), values=(low, high)
    )
    return composed


def _as_declared(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The values of inputs, of any library; real numbers in the precision that the model declares."""
    declared = {info.name: declared_type(info) for info in model.graph.input if info.name in inputs}
    given = {name: to_host(borrow_numbers(value, name)) for name, value in inputs.items()}
    return {
        name: value.astype(declared[name]) if "float" in declared.get(name, "") else value
        for name, value in given.items()
    }


def pictures(net: Network, codes: AnyArray) -> AnyArray:
    """What a composed network draws for codes, (N, C, H, W) float32 in [0, 1], as an array of their library.

    Raises
    ------
    InputError
        The network is none that `compose` made, or the codes do not fit it.
    """
    if not net.latent:
        raise InputError(f"{net.name} has no generator in front; sf.compose puts one there.")
    (drawn,) = net.features(to_host(net.check_image(codes)), [PICTURE])
    return hand_back(np.clip(drawn, 0, 1), codes)


@dataclass(frozen=True)
class _Drawing:
    """What a generator takes and gives."""

    code: str
    code_shape: tuple[int, ...]  # without the batch
    output: str
    size: tuple[int, int]
    channels_last: bool


def _tried(model: onnx.ModelProto, inputs: dict[str, np.ndarray], net: Network, limits: Limits) -> _Drawing:
    """Find the code among a generator's inputs, and draw once to see what comes out."""
    constant = {tensor.name for tensor in model.graph.initializer} | inputs.keys()
    codes = [value for value in model.graph.input if value.name not in constant]
    if len(codes) != 1:
        names = ", ".join(repr(value.name) for value in codes) or "none"
        raise InputError(f"a generator takes one code, this one {names}; give the others by inputs=")
    (code,) = codes
    dims = [d.dim_value for d in code.type.tensor_type.shape.dim][1:]
    single = code.type.tensor_type.elem_type == TensorProto.FLOAT
    if len(dims) not in (1, 3) or min(dims) < 1 or not single:
        raise InputError(
            f"the code {code.name!r} must be float32 of shape (N, d) or (N, c, h, w), all but N known; "
            f"export the generator so"
        )
    check_fits(
        4 * math.prod(dims), f"a code of {' x '.join(map(str, dims))} numbers", "use another generator"
    )
    feeds = {code.name: np.zeros((1, *dims), np.float32), **inputs}
    check_loops(model.graph, limits)
    first = model.graph.output[0].name
    (drawn,) = run_within(limits, "drawing a picture", model, [first], feeds, own=_ROOM_TO_DRAW)
    channels = net.input_shape[0]
    if drawn.ndim != 4 or channels not in (drawn.shape[1], drawn.shape[3]):
        raise InputError(
            f"the generator gives {drawn.shape}, but pictures for {net.name} are (N, {channels}, H, W) or "
            f"(N, H, W, {channels})"
        )
    last = drawn.shape[1] != channels
    size = drawn.shape[1:3] if last else drawn.shape[2:]
    return _Drawing(code.name, tuple(dims), first, (size[0], size[1]), last)


def _held(model: onnx.ModelProto, name: str, value: np.ndarray) -> TensorProto:
    """The value of an input as a constant, of the type that the input takes."""
    kind = helper.tensor_dtype_to_np_dtype(_taken(model, name))
    return numpy_helper.from_array(np.asarray(value, kind), name)


def _taken(model: onnx.ModelProto, name: str) -> int:
    """The element type of an input."""
    return next(int(v.type.tensor_type.elem_type) for v in model.graph.input if v.name == name)


def _as_image(code_shape: tuple[int, ...]) -> tuple[int, ...]:
    return code_shape if len(code_shape) == 3 else (*code_shape, 1, 1)


def _to_code(code_shape: tuple[int, ...], code: str) -> list[NodeProto]:
    if len(code_shape) == 3:
        return [helper.make_node("Identity", [LATENT], [code])]
    return [helper.make_node("Reshape", [LATENT, _name("code_shape")], [code])]


def _to_picture(output: str, drawing: _Drawing, net: Network) -> list[NodeProto]:
    """From what is drawn to ``picture``, (N, C, H, W) in [0, 1] at the network's size."""
    nodes, at = [], output
    if drawing.channels_last:
        nodes.append(helper.make_node("Transpose", [at], [_name("nchw")], perm=[0, 3, 1, 2]))
        at = _name("nchw")
    nodes.append(helper.make_node("Mul", [at, _name("scale")], [_name("scaled")]))
    fits = drawing.size == net.input_shape[1:]
    nodes.append(
        helper.make_node("Add", [_name("scaled"), _name("shift")], [PICTURE if fits else _name("drawn")])
    )
    if not fits:
        inputs = [_name("drawn"), "", _name("sizes")]
        nodes.append(helper.make_node("Resize", inputs, [PICTURE], mode="linear"))
    return nodes


def _to_input(net: Network, taken: int) -> list[NodeProto]:
    """From ``picture`` to the network's input, its pre-processing included."""
    nodes = [
        helper.make_node(
            "Conv", [PICTURE, _name("matrix"), _name("bias")], [_name("prepared")], kernel_shape=[1, 1]
        )
    ]
    at = _name("prepared")
    if net.channels_last:
        nodes.append(helper.make_node("Transpose", [at], [_name("nhwc")], perm=[0, 2, 3, 1]))
        at = _name("nhwc")
    return [*nodes, helper.make_node("Cast", [at], [net.input_name], to=taken)]


def _black_and_white(values: Any) -> tuple[float, float]:
    """Two numbers, the smaller first, in single precision."""
    wanted = "black and white, in this order, such as (-1, 1)"
    found = checks.entries(values, "values", wanted)
    if len(found) != 2 or not all(map(checks.is_number, found)):
        checks.refuse(values, "values", wanted)
    low, high = (checks.single(each, "a value of black or white") for each in found)
    if not np.float32(high) - np.float32(low) > np.finfo(np.float32).tiny:
        checks.refuse(values, "values", wanted)
    return low, high


def _constants(drawing: _Drawing, values: tuple[float, float], net: Network) -> list[TensorProto]:
    low, high = values
    channels, height, width = net.input_shape
    matrix, bias = net.preprocess.matrix_and_bias(channels)
    # a hair more than the ratio, since the size is rounded down
    factors = [
        1,
        1,
        *((1 + 1e-6) * want / have for want, have in zip((height, width), drawing.size, strict=True)),
    ]
    known = {
        "code_shape": np.array([-1, *drawing.code_shape], np.int64),
        "scale": np.float32(1 / (high - low)),
        "shift": np.float32(-low / (high - low)),
        "sizes": np.array(factors, np.float32),
        "matrix": matrix.astype(np.float32).reshape(channels, channels, 1, 1),
        "bias": bias.astype(np.float32),
    }
    return [numpy_helper.from_array(np.asarray(value), _name(key)) for key, value in known.items()]


def _name(of: str) -> str:
    return f"composed/{of}"


def _same_opset(*models: onnx.ModelProto) -> list[onnx.ModelProto]:
    """The models at the highest opset that one of them has, and at least at that of Resize."""
    versions = [opset_of(m) for m in models]
    target = max(*versions, _RESIZES)
    with as_model_error(
        f"the two models are of opset {versions[0]} and {versions[1]}, and onnx cannot convert the older, "
        f"which should be exported with opset {target}"
    ):
        return [
            model if version == target else version_converter.convert_version(model, target)
            for model, version in zip(models, versions, strict=True)
        ]
