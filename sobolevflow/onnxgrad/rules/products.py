"""Gradient rules of matrix products: MatMul, Gemm, Einsum."""

from __future__ import annotations

import string

import numpy as np

from ..backward import Refusal, Step, unbroadcast
from ..builder import Value
from ..graph import Shape
from .table import rule


@rule("Gemm")
def _(s: Step, i: int) -> str:
    # y = alpha A B + beta C, where A and B may be given transposed
    alpha, beta = s.attr("alpha", 1.0), s.attr("beta", 1.0)
    ta, tb = s.attr("transA", 0), s.attr("transB", 0)
    g, (a, b) = s.g, s.x[:2]
    if i == 2:
        return unbroadcast(s, g if beta == 1 else g * beta, s.y.shape, s.x[2].shape)
    if i == 0:
        if ta:
            return s.op("Gemm", b, g, alpha=alpha, transA=tb, transB=1)
        return s.op("Gemm", g, b, alpha=alpha, transB=1 - tb)
    if tb:
        return s.op("Gemm", g, a, alpha=alpha, transA=1, transB=ta)
    return s.op("Gemm", a, g, alpha=alpha, transA=1 - ta)


@rule("MatMul")
def _(s: Step, i: int) -> str:
    a, b = (x.shape for x in s.x)
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
        "".join(c for c, d in zip(term, x.shape, strict=True) if d == sizes[c])
        for term, x in zip(terms, s.x, strict=True)
    ]
    others = [k for k in range(len(terms)) if k != i]
    known = set(out).union(*(short[k] for k in others))
    # the operand and the output change places; an index that only this operand has was summed over
    kept = "".join(c for c in dict.fromkeys(short[i]) if c in known)
    operands = [s.g, *(_with_axes(s, s.x[k], short[k], sizes) for k in others)]
    g = s.op("Einsum", *operands, equation=",".join([out, *(short[k] for k in others)]) + "->" + kept)
    return _spread_over_term(s, g, terms[i], kept, s.x[i].shape)


def _with_axes(s: Step, x: Value, term: str, sizes: dict[str, int]) -> Value:
    shape = tuple(sizes[c] for c in term)
    return x if shape == x.shape else s.reshape(x, shape)


def _spread_over_term(s: Step, g: Value, term: str, kept: str, x: Shape) -> Value:
    """From the indices `kept` to those of an operand: on its diagonals, and repeated along the others."""
    if kept == term:
        return g
    first = [c in kept and term.index(c) == k for k, c in enumerate(term)]
    g = s.reshape(g, [d if own else 1 for own, d in zip(first, x, strict=True)])
    for k, c in enumerate(term):
        if term.index(c) < k:
            shape = [d if j in (term.index(c), k) else 1 for j, d in enumerate(x)]
            g = g * np.eye(x[k]).reshape(shape)
    return s.expand(g, x)


def _subscripts(s: Step) -> tuple[list[str], str, dict[str, int]]:
    """The index letters of every operand and of the output, an ellipsis spelt out, and their sizes."""
    left, arrow, out = s.attr("equation").replace(" ", "").partition("->")
    named = left.split(",")
    hidden = [len(x.shape) - len(t.replace("...", "")) for t, x in zip(named, s.x, strict=True)]
    letters = "".join(c for c in string.ascii_letters if c not in left)[: max(hidden)]
    terms = [t.replace("...", letters[len(letters) - n :]) for t, n in zip(named, hidden, strict=True)]
    sizes: dict[str, int] = {}
    for term, x in zip(terms, s.x, strict=True):
        for c, size in zip(term, x.shape, strict=True):
            sizes[c] = max(size, sizes.get(c, 1))
    if not arrow:  # the output then has every index that occurs once, in alphabetical order
        out = "..." * ("." in left) + "".join(sorted(c for c in sizes if left.count(c) == 1))
    out = out.replace("...", letters)
    if len(set(out)) < len(out):
        raise Refusal("its output has an index twice")
    if s.y.shape != tuple(sizes[c] for c in out):  # onnx infers the shape of the first operand that has it
        raise Refusal("an axis of size 1 is repeated, and its output's shape is not known")
    return terms, out, sizes
