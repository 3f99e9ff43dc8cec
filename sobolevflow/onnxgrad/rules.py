"""Gradient rules, one operator each, at opset 18.

``rule(s, i)`` returns the gradient of input `i` of the forward node in `s`, given the
gradient ``s.g`` of its output. Its docstring, if it has one, says what it does at ties and kinks
and what it refuses: the remark in docs/operators.md. Masks are taken from the *output* wherever
that is enough, so that onnxruntime can keep Conv and Relu fused. Formulas are the textbook ones;
where a rule is less than obvious its comment says why.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from functools import reduce

import numpy as np
from onnx import helper

from .backward import Refusal, RuleTable, Step, unbroadcast
from .graph import Node, Shape

RULES = RuleTable()
rule = RULES.add

# Integer, boolean or piecewise constant results: their derivative is zero almost everywhere.
RULES.stop("ArgMax", "ArgMin", "NonZero", "NonMaxSuppression", because="its result is indices")
RULES.stop("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", because="its result is true or false")
RULES.stop("Not", "And", "Or", "Xor", "IsNaN", "IsInf", because="its result is true or false")
RULES.stop("Sign", "Round", "Floor", "Ceil", because="it is constant between its steps")
RULES.stop("Hardmax", because="its result is zeros and ones")
RULES.stop("RandomNormal", "RandomUniform", "Bernoulli", "Multinomial", because="it is random")
RULES.stop("Shape", "Size", "ConstantOfShape", because="only the shape of its input counts")
RULES.stop("EyeLike", "RandomNormalLike", "RandomUniformLike", because="only the shape of its input counts")


# -- element by element, one input


def masked(s: Step, condition: str, g: str) -> str:
    """g where the condition holds, else 0. Where, not Mul: an infinite g times 0 would be NaN."""
    return s.op("Where", condition, g, s.const(0))


@rule("Identity", linear=True)
def _(s: Step, i: int) -> str:
    return s.g


@rule("Dropout", linear=True)
def _(s: Step, i: int) -> str:
    """Refused in training mode."""
    if i or (s.has(2) and bool(s.value(2))):
        raise Refusal("it is in training mode")
    return s.g


@rule("Cast", linear=True)
def _(s: Step, i: int) -> str:
    """To another float type; a cast to whole numbers stops the flow."""
    kind = s.graph.type(s.x[0])
    # the gradient of integers, where quantised numbers have one, is real
    return s.op("Cast", s.g, to=helper.np_dtype_to_tensor_dtype(kind.dtype)) if kind.is_float else s.g


@rule("Neg", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.g)


@rule("Relu")
def _(s: Step, i: int) -> str:
    """Zero at 0."""
    return s.op("Mul", s.g, above(s, s.y, 0))


def above(s: Step, y: str, bound: float) -> str:
    """The 0/1 mask of ``y > bound``, exact for float32.

    It is clip(2^k (y - bound), 0, 1) with 2^k so large that the neighbours of the bound are told
    apart, and one operator, which onnxruntime keeps in its blocked layout on the CPU, as it does
    not keep Greater and Where (docs/speed.md).
    """
    steep = _steepness(bound)
    return s.op("HardSigmoid", y, alpha=steep, beta=-steep * bound)


def below(s: Step, y: str, bound: float) -> str:
    """The 0/1 mask of ``y < bound``, as `above`."""
    steep = _steepness(bound)
    return s.op("HardSigmoid", y, alpha=-steep, beta=steep * bound)


def _steepness(bound: float) -> float:
    """The largest power of two whose product with the bound is a float32; such a product is exact."""
    return 2.0 ** (126 - max(math.frexp(bound)[1], 0))


def one_minus(s: Step, y: str) -> str:
    """1 - y for y in [0, 1], by an operator that stays in the blocked layout."""
    return s.op("HardSigmoid", y, alpha=-1.0, beta=1.0)


@rule("LeakyRelu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    slope = s.op("Mul", s.g, s.const(s.attr("alpha", 0.01)))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, slope)


@rule("PRelu", broadcasts=True)
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    positive = s.op("Greater", s.x[0], s.const(0))
    if i == 1:
        return s.op("Where", positive, s.const(0), s.op("Mul", s.g, s.x[0]))
    return s.op("Where", positive, s.g, s.op("Mul", s.g, s.x[1]))


@rule("Clip")
def _(s: Step, i: int) -> str:
    """Zero at the bounds; where both bounds cross, the upper one wins."""
    if i:
        return s.reshape(s.op("ReduceSum", masked(s, _clipped(s, i), s.g), keepdims=0), s.shape(s.x[i]))
    g, masks = s.g, []
    for k, inside, compare in ((1, above, "Greater"), (2, below, "Less")):
        if not s.has(k):
            continue
        bound = s.graph.constant(s.x[k])
        if bound is None or s.graph.type(s.y).dtype != np.float32:
            g = masked(s, s.op(compare, s.y, s.x[k]), g)
        elif np.isfinite(bound):
            masks.append(inside(s, s.y, bound.item()))
    # the masks first: one tensor, not two, may have to leave the blocked layout
    return s.op("Mul", g, reduce(lambda a, b: s.op("Mul", a, b), masks)) if masks else g


def _clipped(s: Step, i: int) -> str:
    """Where the bound that is input `i` of a Clip is its value; of two that cross, the upper one wins."""
    x, low, high = s.x[0], s.has(1), s.has(2)
    if i == 2:
        return s.op("Greater", s.op("Max", x, s.x[1]) if low else x, s.x[2])
    below = s.op("Less", x, s.x[1])
    return s.op("And", below, s.op("LessOrEqual", s.x[1], s.x[2])) if high else below


@rule("Sigmoid")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Mul", s.y, one_minus(s, s.y)))


@rule("Tanh")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, one_minus_square(s, s.y))


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
    """Zero at 0."""
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
    """At 0 the slope of the negative side."""
    # for x <= 0: y = alpha (exp x - 1), so y' = y + alpha
    falling = s.op("Mul", s.g, s.op("Add", s.y, s.const(s.attr("alpha", 1.0))))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, falling)


@rule("HardSigmoid")
def _(s: Step, i: int) -> str:
    """Zero at both kinks."""
    g = s.op("Mul", s.g, s.const(s.attr("alpha", 0.2)))
    return s.op("Mul", s.op("Mul", g, above(s, s.y, 0)), below(s, s.y, 1))


@rule("HardSwish")
def _(s: Step, i: int) -> str:
    """At the kinks the slope outside: 0 at -3, 1 at 3."""
    # y = x h(x), h = clip(x/6 + 1/2, 0, 1); y' = h + x/6 on |x| < 3
    # the slope of the gate is an attribute, and so a float32 in double precision too
    gate = s.op("HardSigmoid", s.x[0], alpha=1 / 6, beta=0.5)
    inside = s.op("Mul", above(s, s.x[0], -3), below(s, s.x[0], 3))
    ramp = s.op("Mul", inside, s.op("Mul", s.x[0], s.const(np.float32(1 / 6))))
    return s.op("Mul", s.g, s.op("Add", gate, ramp))


@rule("Selu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    # for x <= 0: y = gamma alpha (exp x - 1), so y' = y + gamma alpha
    alpha, gamma = s.attr("alpha", 1.6732632423543772), s.attr("gamma", 1.0507009873554805)
    falling = s.op("Mul", s.g, s.op("Add", s.y, s.const(gamma * alpha)))
    rising = s.op("Mul", s.g, s.const(gamma))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), rising, falling)


@rule("Celu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    # for x <= 0: y = alpha (exp(x / alpha) - 1), so y' = y / alpha + 1
    slope = s.op("Add", s.op("Div", s.y, s.const(s.attr("alpha", 1.0))), s.const(1))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, s.op("Mul", s.g, slope))


@rule("Mish")
def _(s: Step, i: int) -> str:
    # y = x t, t = tanh(softplus x); y' = t + x (1 - t^2) sigmoid x
    t = s.op("Tanh", s.op("Softplus", s.x[0]))
    bend = s.op("Mul", s.op("Sub", s.const(1), s.op("Mul", t, t)), s.op("Sigmoid", s.x[0]))
    return s.op("Mul", s.g, s.op("Add", t, s.op("Mul", s.x[0], bend)))


@rule("ThresholdedRelu")
def _(s: Step, i: int) -> str:
    """Zero at the threshold."""
    return masked(s, s.op("Greater", s.x[0], s.const(s.attr("alpha", 1.0))), s.g)


@rule("Shrink")
def _(s: Step, i: int) -> str:
    """Zero at the thresholds."""
    return masked(s, s.op("Greater", s.op("Abs", s.x[0]), s.const(s.attr("lambd", 0.5))), s.g)


@rule("Softsign")
def _(s: Step, i: int) -> str:
    # y = x / (1 + |x|), y' = (1 + |x|)^-2
    root = s.op("Add", s.const(1), s.op("Abs", s.x[0]))
    return s.op("Div", s.g, s.op("Mul", root, root))


@rule("Sin")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Cos", s.x[0]))


@rule("Cos")
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.op("Mul", s.g, s.op("Sin", s.x[0])))


@rule("Atan")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Add", s.const(1), s.op("Mul", s.x[0], s.x[0])))


@rule("Tan")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Add", s.const(1), s.op("Mul", s.y, s.y)))


@rule("Asin")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Sqrt", one_minus_square(s, s.x[0])))


@rule("Acos")
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.op("Div", s.g, s.op("Sqrt", one_minus_square(s, s.x[0]))))


def one_minus_square(s: Step, x: str) -> str:
    """1 - x^2."""
    return s.op("Sub", s.const(1), s.op("Mul", x, x))


@rule("Sinh")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Cosh", s.x[0]))


@rule("Cosh")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Sinh", s.x[0]))


@rule("Asinh")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Sqrt", s.op("Add", s.op("Mul", s.x[0], s.x[0]), s.const(1))))


@rule("Acosh")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Sqrt", s.op("Sub", s.op("Mul", s.x[0], s.x[0]), s.const(1))))


@rule("Atanh")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, one_minus_square(s, s.x[0]))


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
    """The exponent's gradient wants a positive base."""
    if i:
        return s.op("Mul", s.g, s.op("Mul", s.y, s.op("Log", s.x[0])))
    dtype = s.graph.type(s.x[0]).dtype
    if s.graph.constant(s.x[1]) is None:
        p = s.op("Cast", s.x[1], to=dtype_code(s))
        return s.op("Mul", s.g, s.op("Mul", p, s.op("Pow", s.x[0], s.op("Sub", p, s.const(1)))))
    exponent = s.value(1).astype(dtype)
    # p x^(p-1); where p = 0 the power is x^0, because 0 times an infinite 0^-1 would be NaN
    power = s.op("Pow", s.x[0], s.const(np.where(exponent == 0, 0, exponent - 1), dtype))
    return s.op("Mul", s.g, s.op("Mul", s.const(exponent, dtype), power))


@rule("Mod", broadcasts=True)
def _(s: Step, i: int) -> str:
    """Only with fmod=1, as onnxruntime has no other for floats."""
    # y = a - b trunc(a / b), and the quotient is constant between its jumps
    if not s.attr("fmod", 0):
        raise Refusal("fmod=0")
    return s.g if i == 0 else s.op("Mul", s.g, s.op("Div", s.op("Sub", s.y, s.x[0]), s.x[1]))


@rule("Max", "Min", broadcasts=True)
def _(s: Step, i: int) -> str:
    """Ties share the gradient equally."""
    # equal shares are the sub-gradient of least norm
    hits = [s.op("Cast", s.op("Equal", x, s.y), to=dtype_code(s)) for x in s.x]
    share = s.op("Div", hits[i], s.op("Sum", *hits)) if len(hits) > 1 else hits[i]
    return s.op("Mul", s.g, share)


@rule("Where", broadcasts=True)
def _(s: Step, i: int) -> str:
    zero = s.const(0, s.graph.type(s.y).dtype)
    return s.op("Where", s.x[0], s.g, zero) if i == 1 else s.op("Where", s.x[0], zero, s.g)


def dtype_code(s: Step) -> int:
    """Element type that this node computes in, as Cast wants it."""
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


@rule("Einsum")
def _(s: Step, i: int) -> str:
    """An index twice in the output is refused, and an output that the first operand is too small for."""
    terms, out, sizes = _subscripts(s)
    # an axis of size 1 that is repeated is as good as none
    short = [
        "".join(c for c, d in zip(term, s.shape(x), strict=True) if d == sizes[c])
        for term, x in zip(terms, s.x, strict=True)
    ]
    others = [k for k in range(len(terms)) if k != i]
    known = set(out).union(*(short[k] for k in others))
    # the operand and the output change places; an index that only this operand has was summed over
    kept = "".join(c for c in dict.fromkeys(short[i]) if c in known)
    operands = [s.g, *(_with_axes(s, s.x[k], short[k], sizes) for k in others)]
    g = s.op("Einsum", *operands, equation=",".join([out, *(short[k] for k in others)]) + "->" + kept)
    return _spread_over_term(s, g, terms[i], kept, s.shape(s.x[i]))


def _with_axes(s: Step, x: str, term: str, sizes: dict[str, int]) -> str:
    shape = tuple(sizes[c] for c in term)
    return x if shape == s.shape(x) else s.reshape(x, shape)


def _spread_over_term(s: Step, g: str, term: str, kept: str, x: Shape) -> str:
    """From the indices `kept` to those of an operand: on its diagonals, and repeated along the others."""
    if kept == term:
        return g
    first = [c in kept and term.index(c) == k for k, c in enumerate(term)]
    g = s.reshape(g, [d if own else 1 for own, d in zip(first, x, strict=True)])
    for k, c in enumerate(term):
        if term.index(c) < k:
            shape = [d if j in (term.index(c), k) else 1 for j, d in enumerate(x)]
            g = s.op("Mul", g, s.const(np.eye(x[k]).reshape(shape)))
    return s.op("Expand", g, s.ints(x))


def _subscripts(s: Step) -> tuple[list[str], str, dict[str, int]]:
    """The index letters of every operand and of the output, an ellipsis spelt out, and their sizes."""
    left, arrow, out = s.attr("equation").replace(" ", "").partition("->")
    named = left.split(",")
    hidden = [len(s.shape(x)) - len(t.replace("...", "")) for t, x in zip(named, s.x, strict=True)]
    letters = "".join(c for c in string.ascii_letters if c not in left)[: max(hidden)]
    terms = [t.replace("...", letters[len(letters) - n :]) for t, n in zip(named, hidden, strict=True)]
    sizes: dict[str, int] = {}
    for term, x in zip(terms, s.x, strict=True):
        for c, size in zip(term, s.shape(x), strict=True):
            sizes[c] = max(size, sizes.get(c, 1))
    if not arrow:  # the output then has every index that occurs once, in alphabetical order
        out = "..." * ("." in left) + "".join(sorted(c for c in sizes if left.count(c) == 1))
    out = out.replace("...", letters)
    if len(set(out)) < len(out):
        raise Refusal("its output has an index twice")
    if s.shape(s.y) != tuple(sizes[c] for c in out):  # onnx infers the shape of the first operand that has it
        raise Refusal("an axis of size 1 is repeated, and its output's shape is not known")
    return terms, out, sizes


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


@rule("Tile", linear=True)
def _(s: Step, i: int) -> str:
    # one axis of length r n is r copies of n
    x, y = s.shape(s.x[0]), s.shape(s.y)
    split = s.reshape(s.g, [d for a, b in zip(x, y, strict=True) for d in (b // a, a)])
    return s.op("ReduceSum", split, s.ints(range(0, 2 * len(x), 2)), keepdims=0)


@rule("Trilu", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Trilu", s.g, *s.x[1:], upper=s.attr("upper", 1))


@rule("CumSum", linear=True)
def _(s: Step, i: int) -> str:
    flags = {"exclusive": s.attr("exclusive", 0), "reverse": 1 - s.attr("reverse", 0)}
    return s.op("CumSum", s.g, s.x[1], **flags)


@rule("Concat", linear=True)
def _(s: Step, i: int) -> str:
    axis = s.attr("axis") % len(s.shape(s.y))
    sizes = [s.shape(x)[axis] for x in s.x]
    start, stop = sum(sizes[:i]), sum(sizes[: i + 1])
    convolution = s.graph.maker(s.g)
    if axis == 1 and convolution is not None and _can_split(s, convolution):
        return _some_channels(s, convolution, slice(start, stop))
    return s.op("Slice", s.g, s.ints([start]), s.ints([stop]), s.ints([axis]))


def _can_split(s: Step, node: Node) -> bool:
    return (
        node.op == "Conv"
        and node.attrs.get("group", 1) == 1
        and len(node.inputs) == 2
        and s.graph.constant(node.inputs[1]) is not None
    )


def _some_channels(s: Step, convolution: Node, channels: slice) -> str:
    """A part of a convolution's output, computed alone.

    All parts together cost what the whole does, and they stay in onnxruntime's blocked layout, which
    Slice does not know.
    """
    x, weight = convolution.inputs
    part = s.const(np.ascontiguousarray(s.graph.constants[weight][channels]))
    return s.op("Conv", x, part, **convolution.attrs)


@rule("Split", linear=True)
def _(s: Step, i: int) -> str:
    parts = [g or s.const(np.zeros(s.shape(y))) for g, y in zip(s.grads, s.node.outputs, strict=True)]
    return s.op("Concat", *parts, axis=s.attr("axis", 0))


@rule("Slice", linear=True)
def _(s: Step, i: int) -> str:
    """Starts, ends, axes and steps must be constant."""
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


@rule("Pad", linear=True)
def _(s: Step, i: int) -> str:
    """Pads and axes must be constant; the value that is filled in need not be."""
    x, mode = s.shape(s.x[0]), s.attr("mode", "constant")
    begin, end = _pads_per_axis(s, len(x))
    if mode == "constant":
        pads = [-p for p in (*begin, *end)]
        inside = s.op("Pad", s.g, s.ints(pads)) if any(pads) else s.g
        return _gradient_of_fill(s, inside) if i else inside
    g, shape = s.g, list(s.shape(s.y))
    for k, size in enumerate(x):
        if begin[k] or end[k]:
            g = gather_adjoint(s, g, shape, k, size, _padded_sources(size, begin[k], end[k], mode))
            shape[k] = size
    return g


def _gradient_of_fill(s: Step, inside: str) -> str:
    """The gradient of the one number that a Pad fills in: all of `g` that does not go to the data."""
    # a negative pad takes data away; `inside` has zeros there
    total, kept = (s.op("ReduceSum", g, keepdims=0) for g in (s.g, inside))
    return s.reshape(s.op("Sub", total, kept), s.shape(s.x[2]))


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


def gather_adjoint(s: Step, g: str, shape: list[int], axis: int, size: int, sources: np.ndarray) -> str:
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


def zeros(s: Step, shape: Sequence[int]) -> str:
    """Zeros made at run time, not stored in the file."""
    return s.op("Expand", s.const(0), s.ints(shape))


def repeat(s: Step, g: str, times: Sequence[int]) -> str:
    """Repeat each sample of `g` `times[k]` times along spatial axis k.

    By Resize, which onnxruntime keeps in its blocked layout, as it does not keep Expand.
    """
    scales = s.const([1, 1, *times], np.float32)
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return s.op("Resize", g, "", scales, **modes)
