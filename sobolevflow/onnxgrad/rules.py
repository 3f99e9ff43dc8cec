"""Gradient rules, one operator each, at opset 18.

``rule(s, i)`` returns the gradient of input `i` of the forward node in `s`, given the
gradient ``s.g`` of its output. Masks are taken from the *output* wherever that is enough,
so that onnxruntime can keep Conv and Relu fused. Formulas are the textbook ones; where a
rule is less than obvious its comment says why.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import helper

from .backward import Refusal, RuleTable, Step, unbroadcast
from .graph import Shape

RULES = RuleTable()
rule = RULES.add

# Integer, boolean or piecewise constant results: their derivative is zero almost everywhere.
RULES.stops |= {
    *("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression", "OneHot", "Range"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or", "Xor"),
    *("IsNaN", "IsInf", "Sign", "Round", "Floor", "Ceil", "ConstantOfShape", "RandomNormalLike"),
}


# -- element by element, one input


def _where(s: Step, condition: str, g: str) -> str:
    """g where the condition holds, else 0. Where, not Mul: an infinite g times 0 would be NaN."""
    return s.op("Where", condition, g, s.const(0))


@rule("Identity", "Dropout", linear=True)
def _(s: Step, i: int) -> str:
    if i or (s.has(2) and bool(s.value(2))):
        raise Refusal("it is in training mode")
    return s.g


@rule("Cast", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Cast", s.g, to=helper.np_dtype_to_tensor_dtype(s.graph.type(s.x[0]).dtype))


@rule("Neg", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.g)


@rule("Relu")
def _(s: Step, i: int) -> str:
    # clip(3e38 y, 0, 1) is the 0/1 mask of y > 0 for every normal float32. One pass less than Greater
    # and Where: the whole gradient of VGG-like and SqueezeNet graphs is 1.2 to 1.3 times faster.
    if s.graph.type(s.y).dtype == np.float32:
        return s.op("Mul", s.g, s.op("HardSigmoid", s.y, alpha=3e38, beta=0.0))
    return _where(s, s.op("Greater", s.y, s.const(0)), s.g)


@rule("LeakyRelu")
def _(s: Step, i: int) -> str:
    slope = s.op("Mul", s.g, s.const(s.attr("alpha", 0.01)))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, slope)


@rule("PRelu", broadcasts=True)
def _(s: Step, i: int) -> str:
    positive = s.op("Greater", s.x[0], s.const(0))
    if i == 1:
        return s.op("Where", positive, s.const(0), s.op("Mul", s.g, s.x[0]))
    return s.op("Where", positive, s.g, s.op("Mul", s.g, s.x[1]))


@rule("Clip")
def _(s: Step, i: int) -> str:
    if i:
        raise Refusal("its bounds depend on the image")
    g = s.g
    if s.has(1):
        g = _where(s, s.op("Greater", s.y, s.x[1]), g)
    if s.has(2):
        g = _where(s, s.op("Less", s.y, s.x[2]), g)
    return g


@rule("Sigmoid")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Mul", s.y, s.op("Sub", s.const(1), s.y)))


@rule("Tanh")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Sub", s.const(1), s.op("Mul", s.y, s.y)))


@rule("Exp")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.y)


@rule("Log")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.x[0])


@rule("Sqrt")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Mul", s.const(2), s.y))


@rule("Reciprocal")
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.op("Mul", s.g, s.op("Mul", s.y, s.y)))


@rule("Abs")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Sign", s.x[0]))


@rule("Erf")
def _(s: Step, i: int) -> str:
    bell = s.op("Exp", s.op("Neg", s.op("Mul", s.x[0], s.x[0])))
    return s.op("Mul", s.g, s.op("Mul", s.const(2 / math.sqrt(math.pi)), bell))


@rule("Softplus")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Sigmoid", s.x[0]))


@rule("Elu")
def _(s: Step, i: int) -> str:
    # for x <= 0: y = alpha (exp x - 1), so y' = y + alpha
    falling = s.op("Mul", s.g, s.op("Add", s.y, s.const(s.attr("alpha", 1.0))))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, falling)


@rule("HardSigmoid")
def _(s: Step, i: int) -> str:
    rising = s.op("And", s.op("Greater", s.y, s.const(0)), s.op("Less", s.y, s.const(1)))
    return _where(s, rising, s.op("Mul", s.g, s.const(s.attr("alpha", 0.2))))


@rule("HardSwish")
def _(s: Step, i: int) -> str:
    # y = x h(x), h = clip(x/6 + 1/2, 0, 1); y' = h + x/6 on |x| < 3
    gate = s.op("HardSigmoid", s.x[0], alpha=1 / 6, beta=0.5)
    inside = s.op("Less", s.op("Abs", s.x[0]), s.const(3))
    ramp = _where(s, inside, s.op("Div", s.x[0], s.const(6)))
    return s.op("Mul", s.g, s.op("Add", gate, ramp))


# -- element by element, several inputs


@rule("Add", "Sum", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.g


@rule("Mean", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.const(len(s.x)))


@rule("Sub", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.g) if i else s.g


@rule("Mul", broadcasts=True)
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.x[1 - i])


@rule("Div", broadcasts=True)
def _(s: Step, i: int) -> str:
    quotient = s.op("Div", s.g, s.x[1])
    return s.op("Neg", s.op("Mul", quotient, s.y)) if i else quotient


@rule("Pow", broadcasts=True)
def _(s: Step, i: int) -> str:
    if i:
        return s.op("Mul", s.g, s.op("Mul", s.y, s.op("Log", s.x[0])))
    dtype = s.graph.type(s.x[0]).dtype
    exponent = s.value(1).astype(dtype)
    # p x^(p-1); where p = 0 the power is x^0, because 0 times an infinite 0^-1 would be NaN
    power = s.op("Pow", s.x[0], s.const(np.where(exponent == 0, 0, exponent - 1), dtype))
    return s.op("Mul", s.g, s.op("Mul", s.const(exponent, dtype), power))


@rule("Max", "Min", broadcasts=True)
def _(s: Step, i: int) -> str:
    # ties share the gradient equally, as the sub-gradient of least norm does
    hits = [s.op("Cast", s.op("Equal", x, s.y), to=_code(s)) for x in s.x]
    share = s.op("Div", hits[i], s.op("Sum", *hits)) if len(hits) > 1 else hits[i]
    return s.op("Mul", s.g, share)


@rule("Where", broadcasts=True)
def _(s: Step, i: int) -> str:
    zero = s.const(0, s.graph.type(s.y).dtype)
    return s.op("Where", s.x[0], s.g, zero) if i == 1 else s.op("Where", s.x[0], zero, s.g)


def _code(s: Step) -> int:
    return helper.np_dtype_to_tensor_dtype(s.graph.type(s.x[0]).dtype)


# -- matrix products


@rule("Gemm")
def _(s: Step, i: int) -> str:
    alpha, beta = s.attr("alpha", 1.0), s.attr("beta", 1.0)
    ta, tb = s.attr("transA", 0), s.attr("transB", 0)
    if i == 2:
        g = s.g if beta == 1 else s.op("Mul", s.g, s.const(beta))
        return unbroadcast(s, g, s.shape(s.y), s.shape(s.x[2]))
    a, b = s.x[:2]
    if i == 0:
        return (
            s.op("Gemm", b, s.g, alpha=alpha, transA=tb, transB=1)
            if ta
            else s.op("Gemm", s.g, b, alpha=alpha, transB=1 - tb)
        )
    return (
        s.op("Gemm", s.g, a, alpha=alpha, transA=1, transB=ta)
        if tb
        else s.op("Gemm", a, s.g, alpha=alpha, transA=1 - ta)
    )


@rule("MatMul")
def _(s: Step, i: int) -> str:
    a, b = s.shape(s.x[0]), s.shape(s.x[1])
    rows, columns = (a[-2:] if len(a) > 1 else (1, *a)), (b[-2:] if len(b) > 1 else (*b, 1))
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    # a vector operand is a matrix with one row (left) or one column (right)
    g = s.g if len(a) > 1 and len(b) > 1 else s.reshape(s.g, (*batch, rows[0], columns[1]))
    if i == 0:
        product, shape, own = s.op("MatMul", g, _transposed(s, s.x[1], columns, b)), (*batch, *rows), a
    else:
        product, shape, own = s.op("MatMul", _transposed(s, s.x[0], rows, a), g), (*batch, *columns), b
    matrix = own if len(own) > 1 else (rows if i == 0 else columns)
    reduced = unbroadcast(s, product, shape, matrix)
    return reduced if len(own) > 1 else s.reshape(reduced, own)


def _transposed(s: Step, name: str, matrix: Shape, own: Shape) -> str:
    if len(own) == 1:
        return s.reshape(name, matrix[::-1])
    axes = [*range(len(own) - 2), len(own) - 1, len(own) - 2]
    return s.op("Transpose", name, perm=axes)


# -- reductions


@rule("ReduceSum", "ReduceMean", linear=True)
def _(s: Step, i: int) -> str:
    x = s.shape(s.x[0])
    axes = _reduced_axes(s, len(x))
    g = s.reshape(s.g, [1 if k in axes else d for k, d in enumerate(x)])
    if s.node.op == "ReduceMean":
        g = s.op("Mul", g, s.const(1 / math.prod(x[k] for k in axes)))
    return s.op("Expand", g, s.ints(x))


def _reduced_axes(s: Step, rank: int) -> list[int]:
    given = s.value(1).tolist() if s.has(1) else s.attr("axes", [])
    if not given:
        return [] if s.attr("noop_with_empty_axes", 0) else list(range(rank))
    return [int(k) % rank for k in given]


@rule("GlobalAveragePool", linear=True)
def _(s: Step, i: int) -> str:
    x = s.shape(s.x[0])
    mean = s.op("Mul", s.g, s.const(1 / math.prod(x[2:])))
    return s.op("Expand", mean, s.ints(x))


@rule("GlobalMaxPool")
def _(s: Step, i: int) -> str:
    hits = s.op("Cast", s.op("Equal", s.x[0], s.y), to=_code(s))
    axes = s.ints(range(2, len(s.shape(s.x[0]))))
    share = s.op("Div", s.g, s.op("ReduceSum", hits, axes, keepdims=1))
    return s.op("Mul", hits, share)


@rule("Softmax")
def _(s: Step, i: int) -> str:
    gy = s.op("Mul", s.g, s.y)
    total = s.op("ReduceSum", gy, s.ints([s.attr("axis", -1)]), keepdims=1)
    return s.op("Sub", gy, s.op("Mul", s.y, total))


@rule("LogSoftmax")
def _(s: Step, i: int) -> str:
    total = s.op("ReduceSum", s.g, s.ints([s.attr("axis", -1)]), keepdims=1)
    return s.op("Sub", s.g, s.op("Mul", s.op("Exp", s.y), total))


# -- normalization


@rule("BatchNormalization", linear=True)
def _(s: Step, i: int) -> str:
    if i or s.attr("training_mode", 0):
        raise Refusal("its statistics depend on the image (training mode)")
    scale, variance = s.value(1).astype(np.float64), s.value(4).astype(np.float64)
    slope = scale / np.sqrt(variance + s.attr("epsilon", 1e-5))
    return s.op("Mul", s.g, s.const(slope.reshape(-1, *[1] * (len(s.shape(s.x[0])) - 2))))


@rule("InstanceNormalization")
def _(s: Step, i: int) -> str:
    # with xh the normalised x and gh = scale g:  dx = (gh - mean gh - xh mean(gh xh)) / std
    if i:
        raise Refusal("its scale or bias depends on the image")
    rank = len(s.shape(s.x[0]))
    axes = s.ints(range(2, rank))
    centred = s.op("Sub", s.x[0], s.op("ReduceMean", s.x[0], axes, keepdims=1))
    variance = s.op("ReduceMean", s.op("Mul", centred, centred), axes, keepdims=1)
    std = s.op("Sqrt", s.op("Add", variance, s.const(s.attr("epsilon", 1e-5))))
    xh = s.op("Div", centred, std)
    gh = s.op("Mul", s.g, s.const(s.value(1).reshape(-1, *[1] * (rank - 2))))
    along = s.op("Mul", xh, s.op("ReduceMean", s.op("Mul", gh, xh), axes, keepdims=1))
    flat = s.op("Sub", gh, s.op("ReduceMean", gh, axes, keepdims=1))
    return s.op("Div", s.op("Sub", flat, along), std)


@rule("LRN")
def _(s: Step, i: int) -> str:
    # y = x S^-beta, S = bias + alpha/n B x^2 with B the band matrix over channels, hence
    # dx = g S^-beta - (2 alpha beta / n) x B^T(g y / S)
    n, alpha, beta = s.attr("size"), s.attr("alpha", 1e-4), s.attr("beta", 0.75)
    x = s.shape(s.x[0])
    band = _band_matrix(x[1], n).reshape(x[1], x[1], *[1] * (len(x) - 2))
    squares = s.op("Conv", s.op("Mul", s.x[0], s.x[0]), s.const(band * (alpha / n)))
    base = s.op("Add", squares, s.const(s.attr("bias", 1.0)))
    direct = s.op("Mul", s.g, s.op("Pow", base, s.const(-beta)))
    ratio = s.op("Div", s.op("Mul", s.g, s.y), base)
    spread = s.op("Conv", ratio, s.const(np.swapaxes(band, 0, 1) * (2 * alpha * beta / n)))
    return s.op("Sub", direct, s.op("Mul", s.x[0], spread))


def _band_matrix(channels: int, size: int) -> np.ndarray:
    """B[c, d] = 1 where channel d enters the sum for channel c."""
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    return ((offset >= -((size - 1) // 2)) & (offset <= size // 2)).astype(np.float64)


# -- shape and place


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", linear=True)
def _(s: Step, i: int) -> str:
    return s.reshape(s.g, s.shape(s.x[0]))


@rule("Transpose", linear=True)
def _(s: Step, i: int) -> str:
    rank = len(s.shape(s.x[0]))
    perm = s.attr("perm") or list(range(rank))[::-1]
    return s.op("Transpose", s.g, perm=[int(k) for k in np.argsort(perm)])


@rule("DepthToSpace", linear=True)
def _(s: Step, i: int) -> str:
    block, (n, c, h, w) = s.attr("blocksize"), s.shape(s.x[0])
    if s.attr("mode", "DCR") == "DCR":  # SpaceToDepth is its inverse
        return s.op("SpaceToDepth", s.g, blocksize=block)
    split = s.reshape(s.g, (n, c // block**2, h, block, w, block))
    return s.reshape(s.op("Transpose", split, perm=[0, 1, 3, 5, 2, 4]), (n, c, h, w))


@rule("SpaceToDepth", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("DepthToSpace", s.g, blocksize=s.attr("blocksize"), mode="DCR")


@rule("Expand", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.g


@rule("Concat", linear=True)
def _(s: Step, i: int) -> str:
    axis = s.attr("axis") % len(s.shape(s.y))
    sizes = [s.shape(x)[axis] for x in s.x]
    start = sum(sizes[:i])
    return s.op("Slice", s.g, s.ints([start]), s.ints([start + sizes[i]]), s.ints([axis]))


@rule("Split", linear=True)
def _(s: Step, i: int) -> str:
    parts = [g or s.const(np.zeros(s.shape(y))) for g, y in zip(s.grads, s.node.outputs, strict=True)]
    return s.op("Concat", *parts, axis=s.attr("axis", 0))


@rule("Slice", linear=True)
def _(s: Step, i: int) -> str:
    x = s.shape(s.x[0])
    starts, ends = s.value(1).tolist(), s.value(2).tolist()
    axes = s.value(3).tolist() if s.has(3) else list(range(len(starts)))
    steps = s.value(4).tolist() if s.has(4) else [1] * len(starts)
    g, shape = s.g, list(s.shape(s.y))
    pads = [0] * (2 * len(x))
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        k = axis % len(x)
        taken = _taken(x[k], start, end, step)
        if step < 0:
            g, taken = _reversed(s, g, k), taken[::-1]
        if abs(step) > 1:
            g = _interleave_zeros(s, g, shape, k, abs(step))
            shape[k] *= abs(step)
        pads[k] = taken.start
        pads[len(x) + k] = x[k] - shape[k] - taken.start  # negative where the last zeros overhang
    return s.op("Pad", g, s.ints(pads)) if any(pads) else g


def _taken(size: int, start: int, end: int, step: int) -> range:
    """The samples that Slice takes; it differs from Python for a start in front of the data."""
    if step < 0 and start < -size:  # clamped to the first sample, where Python takes none
        start = 0
    return range(size)[slice(start, end, step)]


def _reversed(s: Step, g: str, axis: int) -> str:
    lowest = np.iinfo(np.int64).min
    return s.op("Slice", g, s.ints([-1]), s.ints([lowest]), s.ints([axis]), s.ints([-1]))


def _interleave_zeros(s: Step, g: str, shape: list[int], axis: int, step: int) -> str:
    """a b c -> a 0 b 0 c 0 along one axis (step 2)."""
    split = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
    pads = [0] * (2 * len(split))
    pads[len(split) + axis + 1] = step - 1
    padded = s.op("Pad", s.reshape(g, split), s.ints(pads))
    return s.reshape(padded, [*shape[:axis], shape[axis] * step, *shape[axis + 1 :]])


@rule("Gather", linear=True)
def _(s: Step, i: int) -> str:
    x = s.shape(s.x[0])
    axis, indices = s.attr("axis", 0) % len(x), s.value(1)
    sources = indices.reshape(-1) % x[axis]
    shape = [*x[:axis], len(sources), *x[axis + 1 :]]
    return _gather_adjoint(s, s.reshape(s.g, shape), shape, axis, x[axis], sources)


@rule("Pad", linear=True)
def _(s: Step, i: int) -> str:
    x, mode = s.shape(s.x[0]), s.attr("mode", "constant")
    begin, end = _pads_per_axis(s, len(x))
    if mode == "constant":
        pads = [-p for p in (*begin, *end)]
        return s.op("Pad", s.g, s.ints(pads)) if any(pads) else s.g
    g, shape = s.g, list(s.shape(s.y))
    for k, size in enumerate(x):
        if begin[k] or end[k]:
            g = _gather_adjoint(s, g, shape, k, size, _padded_sources(size, begin[k], end[k], mode))
            shape[k] = size
    return g


def _pads_per_axis(s: Step, rank: int) -> tuple[list[int], list[int]]:
    pads = s.value(1).tolist()
    axes = [k % rank for k in s.value(3).tolist()] if s.has(3) else list(range(rank))
    begin, end = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        begin[axis], end[axis] = pads[k], pads[len(axes) + k]
    return begin, end


def _padded_sources(size: int, begin: int, end: int, mode: str) -> np.ndarray:
    """Which source sample each padded sample copies; a negative pad crops."""
    # the modes of ONNX bear NumPy's names
    padded = np.pad(np.arange(size), (max(begin, 0), max(end, 0)), mode=mode)  # type: ignore[call-overload]
    return np.asarray(padded[max(-begin, 0) : len(padded) - max(-end, 0)])


def _gather_adjoint(s: Step, g: str, shape: list[int], axis: int, size: int, sources: np.ndarray) -> str:
    """Adjoint of y = x[sources] along one axis, as a product with the transposed 0/1 matrix."""
    matrix = np.zeros((size, len(sources)))
    matrix[sources, np.arange(len(sources))] = 1
    return apply_along(s, g, shape, axis, matrix)


def apply_along(s: Step, g: str, shape: list[int], axis: int, matrix: np.ndarray) -> str:
    """Multiply one axis of `g` by `matrix` (new size, old size)."""
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    flat = s.reshape(g, (before, shape[axis], after))
    product = s.op("MatMul", s.const(matrix), flat)
    return s.reshape(product, [*shape[:axis], matrix.shape[0], *shape[axis + 1 :]])
