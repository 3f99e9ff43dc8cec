"""Every gradient rule, at a table of its uses; geometries at random are in test_windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper

from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad import RULES
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import (
    Case,
    Var,
    case,
    check,
    close,
    forward_graph,
    gradient_graph,
    make_model,
    run_single,
    spaced,
    weights_of,
)

RNG = np.random.default_rng(20)  # of the tables below; what tests draw themselves is of `rng`


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2.0, shape).astype(np.float32)


def apart(*shape: int) -> np.ndarray:
    return spaced(RNG, *shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def scalar(value: float) -> np.ndarray:
    return np.array(value, np.float32)


X = (2, 3, 4, 5)
Given = Var | np.ndarray

PAIRS: dict[str, tuple[Given, Given]] = {
    "two of the image": (Var(positive(*X)), Var(positive(*X))),
    "constant right": (Var(positive(*X)), positive(*X)),
    "constant left": (positive(*X), Var(positive(*X))),
    "channel right": (Var(positive(*X)), Var(positive(3, 1, 1))),
    "channel left": (Var(positive(3, 1, 1)), Var(positive(*X))),
    "scalar": (Var(positive(*X)), Var(positive())),
    "both broadcast": (Var(positive(2, 1, 4, 1)), Var(positive(1, 3, 1, 5))),
}
AXES: list[tuple[str, tuple[np.ndarray, ...], dict[str, Any]]] = [
    ("all", (), {}),
    ("space", (ints(2, 3),), {}),
    ("negative", (ints(-1),), {}),
    ("channels and columns", (ints(3, 1),), {}),
    ("empty means all", (ints(),), {}),
    ("empty means none", (ints(),), {"noop_with_empty_axes": 1}),
]

ELEMENTWISE = [
    case("Identity", Var(normal(*X))),
    case("Dropout", Var(normal(*X)), label="inference"),
    case("Dropout", Var(normal(*X)), scalar(0.5), np.array(False), label="explicit inference"),
    case("Dropout", Var(normal(*X)), label="with mask", outputs=2),
    case("Cast", Var(normal(*X)), to=1),
    case("Cast", Var(normal(*X)), to=11),
    case("Neg", Var(normal(*X))),
    case("Relu", Var(apart(*X))),
    case("LeakyRelu", Var(apart(*X))),
    case("LeakyRelu", Var(apart(*X)), alpha=0.3),
    case("PRelu", Var(apart(*X)), scalar(0.2), label="one slope"),
    case("PRelu", Var(apart(*X)), normal(3, 1, 1), label="slope per channel"),
    case("PRelu", Var(apart(*X)), Var(normal(3, 1, 1)), label="slope of the image"),
    case("Clip", Var(apart(*X)), scalar(-1.0), scalar(2.0), label="both bounds"),
    case("Clip", Var(apart(*X)), None, scalar(0.3), label="max only"),
    case("Clip", Var(apart(*X)), scalar(0.0), label="min only"),
    case("Clip", Var(apart(*X)), label="no bounds"),
    case("Clip", Var(apart(*X)), Var(scalar(-0.31)), Var(scalar(0.72)), label="bounds of the image"),
    case("Sigmoid", Var(normal(*X))),
    case("Tanh", Var(normal(*X))),
    case("Exp", Var(normal(*X))),
    case("Log", Var(positive(*X))),
    case("Sqrt", Var(positive(*X))),
    case("Reciprocal", Var(positive(*X))),
    case("Abs", Var(apart(*X))),
    case("Erf", Var(normal(*X))),
    case("Softplus", Var(normal(*X))),
    case("Elu", Var(apart(*X))),
    case("Elu", Var(apart(*X)), alpha=0.7),
    case("HardSigmoid", Var(apart(*X))),
    case("HardSigmoid", Var(apart(*X)), alpha=0.3, beta=0.4),
    case("HardSwish", Var(apart(*X) * 0.97)),
    case("Selu", Var(apart(*X))),
    case("Selu", Var(apart(*X)), alpha=0.7, gamma=1.3),
    case("Celu", Var(apart(*X))),
    case("Celu", Var(apart(*X)), alpha=0.7),
    case("Mish", Var(3 * normal(*X))),
    case("ThresholdedRelu", Var(apart(*X))),
    case("ThresholdedRelu", Var(apart(*X)), alpha=-0.5),
    case("Shrink", Var(apart(*X))),
    case("Shrink", Var(apart(*X)), lambd=0.7, bias=0.3),
    case("Softsign", Var(apart(*X))),
    case("Sin", Var(3 * normal(*X))),
    case("Cos", Var(3 * normal(*X))),
    case("Atan", Var(3 * normal(*X))),
    case("Tan", Var(normal(*X).clip(-1.2, 1.2))),
    case("Asin", Var(np.tanh(normal(*X)))),
    case("Acos", Var(np.tanh(normal(*X)))),
    case("Sinh", Var(normal(*X))),
    case("Cosh", Var(normal(*X))),
    case("Asinh", Var(3 * normal(*X))),
    case("Acosh", Var(1.1 + positive(*X))),
    case("Atanh", Var(np.tanh(normal(*X)))),
]

ARITHMETIC = [
    *(
        case(op, *inputs, label=label)
        for op in ("Add", "Sub", "Mul", "Div")
        for label, inputs in PAIRS.items()
    ),
    case("Sum", Var(normal(*X))),
    case("Sum", Var(normal(*X)), Var(normal(5)), normal(3, 1, 1), label="three"),
    case("Mean", Var(normal(*X)), Var(normal(4, 1)), normal(*X), label="three"),
    case("Mean", Var(normal(*X)), label="one"),
    *(
        case(op, *inputs, label=label)
        for op in ("Max", "Min")
        for label, inputs in {
            "one": (Var(apart(*X)),),
            "two": (Var(apart(*X)), Var(apart(*X) + 0.04)),
            "broadcast constant": (Var(apart(*X)), f32(0.01)),
            "three": (Var(apart(2, 3)), Var(apart(3) + 0.03), apart(2, 1) - 0.03),
        }.items()
    ),
    case("Pow", Var(positive(*X)), f32(2.5), label="real exponent"),
    case("Pow", Var(normal(*X)), f32(2.0), label="square of both signs"),
    case("Pow", Var(normal(*X)), ints(3), label="integer exponent"),
    case("Pow", Var(np.append(normal(5), 0)), f32(0, 1, 2, 3, 1, 0), label="exponents 0 and 1, at 0 too"),
    case("Pow", Var(positive(*X)), positive(5), label="exponents in a row"),
    case("Pow", f32(2.0), Var(normal(*X)), label="exponent of the image"),
    case("Pow", Var(positive(*X)), Var(normal(5)), label="both of the image"),
    case("Mod", Var(apart(*X)), Var(f32(1.7, -2.3, 0.9, 31.0, 5.1)), fmod=1),
    case("Where", RNG.random(X) > 0.5, Var(normal(*X)), Var(normal(*X)), label="two of the image"),
    case("Where", RNG.random((4, 1)) > 0.5, Var(normal(*X)), Var(normal()), label="broadcast"),
    case("Where", RNG.random(X) > 0.5, scalar(1.0), Var(normal(3, 1, 1)), label="constant"),
]


def gemm(ta: int, tb: int, variables: str, c: tuple[int, ...] | None, **attrs: Any) -> Case:
    """Y (3, 4) = alpha A' (3, 5) B' (5, 4) + beta C; `variables` says which of A, B, C are of the image."""
    arrays = {
        "A": normal(*((5, 3) if ta else (3, 5))),
        "B": normal(*((4, 5) if tb else (5, 4))),
        "C": None if c is None else normal(*c),
    }
    inputs = [Var(a) if name in variables else a for name, a in arrays.items()]
    label = f"{ta}{tb} of {variables}, C {c}, {attrs}"
    return case("Gemm", *inputs, label=label, transA=ta, transB=tb, tolerance=2e-7, **attrs)


EQUATIONS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij , jk -> ki", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("bj,ja", [(2, 3), (3, 4)]),
    ("Ba,aA->BA", [(2, 3), (3, 4)]),
    ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("bhij,bhjd->bihd", [(2, 3, 4, 5), (2, 3, 5, 6)]),
    ("nchw,cd->ndhw", [(2, 3, 4, 5), (3, 2)]),
    ("bhwc,hkc->bhwk", [(2, 3, 4, 5), (3, 6, 5)]),
    ("i,j->ij", [(3,), (4,)]),
    ("ij,ij->", [(3, 4), (3, 4)]),
    ("ijk,jl->il", [(2, 3, 4), (3, 5)]),
    ("ij->ji", [(3, 4)]),
    ("ijk->j", [(2, 3, 4)]),
    ("ij,jk,k->i", [(2, 3), (3, 4), (4,)]),
]

PRODUCTS = [
    *(gemm(ta, tb, "A", (4,)) for ta in (0, 1) for tb in (0, 1)),
    *(gemm(ta, tb, "B", (3, 1), alpha=0.5, beta=2.0) for ta in (0, 1) for tb in (0, 1)),
    *(gemm(ta, tb, "AB", None, alpha=-1.5) for ta in (0, 1) for tb in (0, 1)),
    *(gemm(0, 0, "C", c, beta=0.3) for c in ((), (1,), (4,), (3, 1), (1, 4), (3, 4))),
    gemm(0, 1, "ABC", (1, 4), alpha=0.5, beta=0.25),
    *(
        case("MatMul", left, right, label=f"{np.shape(left.at)} @ {np.shape(right.at)}")
        for left, right in [
            (Var(normal(*a)), Var(normal(*b)))
            for a, b in [
                ((3, 4), (4, 5)),
                ((2, 3, 4), (4, 5)),
                ((3, 4), (2, 4, 5)),
                ((2, 1, 3, 4), (5, 4, 2)),
                ((1, 3, 4), (2, 4, 5)),
                ((4,), (4, 5)),
                ((3, 4), (4,)),
                ((4,), (4,)),
                ((4,), (2, 4, 5)),
                ((2, 3, 4), (4,)),
            ]
        ]
    ),
    case("MatMul", Var(normal(2, 3, 4)), normal(4, 5), label="constant right"),
    case("MatMul", normal(5, 3), Var(normal(2, 3, 4)), label="constant left"),
    *(
        case("Einsum", *(Var(normal(*shape)) for shape in shapes), equation=equation)
        for equation, shapes in EQUATIONS
    ),
    case("Einsum", Var(normal(2, 3)), normal(3, 4), equation="ij,jk->ik", label="constant right"),
    case("Einsum", normal(2, 3), Var(normal(3, 4)), equation="ij,jk->ik", label="constant left"),
]

REDUCTIONS = [
    *(
        case(op, Var(normal(*X)), *axes, label=f"{label}, keepdims={keep}", keepdims=keep, **extra)
        for op in ("ReduceSum", "ReduceMean")
        for keep in (0, 1)
        for label, axes, extra in AXES
    ),
    *(
        case(op, Var(at), *axes, label=f"{label}, keepdims={keep}", keepdims=keep, **extra)
        for op, at in (("ReduceMax", apart(*X)), ("ReduceMin", apart(*X)), ("ReduceProd", positive(*X)))
        for keep in (0, 1)
        for label, axes, extra in AXES
    ),
    *(
        case(op, Var(positive(*X)), *axes, label=f"{label}, keepdims={keep}", keepdims=keep, **extra)
        for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
        for keep in (0, 1)
        for label, axes, extra in AXES[:-1]
    ),
    *(
        case(op, Var(apart(*X)), ints(1), label="both signs")
        for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
    ),
    case("ReduceLogSumExp", Var(100 * apart(2, 5)), ints(1), label="would overflow"),
    case("ReduceProd", Var(np.array([[0, 2, 3], [0, 0, 3], [1, 2, 3]])), ints(1), label="at zeros"),
    case("GlobalAveragePool", Var(normal(*X))),
    case("GlobalAveragePool", Var(normal(2, 3, 7)), label="1-D"),
    case("GlobalMaxPool", Var(apart(*X))),
    case("GlobalMaxPool", Var(apart(2, 3, 2, 3, 2)), label="3-D"),
    *(case(op, Var(normal(*X)), axis=k) for op in ("Softmax", "LogSoftmax") for k in (0, 1, 2, -1)),
    case("Softmax", Var(normal(*X)), label="default axis"),
]

NORMALIZATION = [
    case(
        "LayerNormalization", Var(normal(2, 3, 4)), Var(normal(4)), Var(normal(4)), label="all of the image"
    ),
    case(
        "LayerNormalization", Var(normal(2, 3, 4)), Var(normal(3, 1)), axis=1, outputs=3, label="statistics"
    ),
    case(
        "LayerNormalization", Var(normal(2, 3, 4)), normal(4), outputs=3, unused=[0], label="statistics alone"
    ),
    case(
        "InstanceNormalization",
        Var(normal(2, 3, 4)),
        Var(normal(3)),
        Var(normal(3)),
        label="all of the image",
    ),
    case(
        "BatchNormalization",
        Var(normal(*X)),
        normal(3),
        normal(3),
        normal(3),
        positive(3),
        epsilon=1e-3,
        tolerance=2e-7,
    ),
    case(
        "BatchNormalization",
        Var(normal(4, 3)),
        normal(3),
        normal(3),
        normal(3),
        positive(3),
        label="of (N, C)",
        tolerance=2e-7,
    ),
    case("InstanceNormalization", Var(normal(*X)), normal(3), normal(3), epsilon=1e-3),
    case("InstanceNormalization", Var(normal(2, 3, 9)), normal(3), normal(3), label="1-D"),
    *(
        case("LayerNormalization", Var(normal(*X)), *(normal(*X[k:]) for _ in range(inputs)), axis=axis)
        for k, axis in ((3, -1), (2, 2), (1, 1), (0, 0))
        for inputs in (1, 2)
    ),
    case("LayerNormalization", Var(normal(*X)), normal(5), epsilon=0.1, label="default axis"),
    case("LayerNormalization", Var(normal(*X)), normal(1, 5), axis=2, label="scale broadcast"),
    case(
        "LayerNormalization",
        Var(normal(2, 6)),
        normal(6),
        outputs=3,
        unused=(1, 2),
        label="statistics unused",
    ),
    *(case("LpNormalization", Var(apart(*X)), p=2, axis=k) for k in (0, 1, -1)),
    case("LpNormalization", Var(apart(*X)), label="defaults"),
    *(
        # onnxruntime runs odd sizes only
        case(
            "LRN",
            Var(normal(2, 7, 3, 2)),
            size=n,
            alpha=0.9,
            beta=0.6,
            bias=1.2,
            label=f"size {n}",
            single=n % 2 == 1,
        )
        for n in (1, 2, 3, 4, 5, 8, 9)
    ),
    case("LRN", Var(30 * normal(1, 6, 2, 2)), size=5, label="default constants"),
]

SCATTERED: dict[str, tuple[Given, Given]] = {
    "of the image": (Var(normal(3, 4)), Var(normal(2, 4))),
    "constant data": (normal(3, 4), Var(normal(2, 4))),
    "constant updates": (Var(normal(3, 4)), normal(2, 4)),
}

PLACES = [
    *(case("TopK", Var(apart(2, 4, 5)), ints(3), axis=k, outputs=2, unused=[1]) for k in (1, -1)),
    case("TopK", Var(apart(2, 4, 5)), ints(2), largest=0, outputs=2, unused=[1], label="the smallest"),
    case("Compress", Var(normal(3, 4)), np.array([True, False, True]), axis=0),
    case("Compress", Var(normal(3, 4)), np.array([False, True, True, False]), axis=-1),
    case("Compress", Var(normal(3, 4)), np.array([True, False, True, True, False]), label="flat"),
    case("ReverseSequence", Var(normal(4, 3, 2)), np.array([4, 1, 2]), time_axis=0, batch_axis=1),
    case("ReverseSequence", Var(normal(3, 4, 2)), np.array([4, 1, 2]), time_axis=1, batch_axis=0),
    case(
        "MaxUnpool",
        Var(normal(1, 1, 2, 2)),
        np.array([[[[5, 7], [13, 10]]]]),
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
    case("Reshape", Var(normal(*X)), ints(2, -1), label="merge"),
    case("Reshape", Var(normal(*X)), ints(0, 0, 20), label="copy"),
    *(case("Flatten", Var(normal(*X)), axis=k) for k in (0, 1, 3, -1)),
    case("Squeeze", Var(normal(2, 1, 3, 1)), ints(1, -1), label="axes"),
    case("Squeeze", Var(normal(2, 1, 3, 1)), label="all"),
    case("Unsqueeze", Var(normal(2, 3)), ints(0, -1), label="axes"),
    case("Transpose", Var(normal(*X)), perm=[2, 0, 3, 1]),
    case("Transpose", Var(normal(*X)), label="reverse"),
    case("DepthToSpace", Var(normal(2, 8, 3, 2)), blocksize=2, mode="DCR"),
    case("DepthToSpace", Var(normal(2, 12, 3, 2)), blocksize=2, mode="CRD"),
    case("SpaceToDepth", Var(normal(2, 3, 4, 6)), blocksize=2),
    case("Expand", Var(normal(3, 1, 5)), ints(2, 3, 4, 5), label="lead and repeat"),
    case("Expand", Var(normal(2, 3)), ints(1, 1), label="to a smaller shape"),
    *(
        case("Concat", Var(normal(2, 3)), normal(2, 3), Var(normal(2, 3)), Var(normal(2, 3)), axis=k)
        for k in (0, 1, -1)
    ),
    case("Concat", Var(normal(2, 3)), Var(normal(2, 5)), axis=-1),
    case("Split", Var(normal(2, 7)), ints(2, 4, 1), outputs=3, axis=1),
    case("Split", Var(normal(2, 7)), ints(2, 4, 1), outputs=3, unused=(0, 2), axis=-1, label="one used"),
    case("Split", Var(normal(6, 2)), outputs=3, num_outputs=3, label="equal parts, default axis"),
    case("Split", Var(normal(7, 2)), outputs=3, num_outputs=3, label="smaller last part"),
    *(
        case("Slice", Var(normal(2, 7, 6)), *map(np.array, bounds), label=str(bounds))
        for bounds in [
            ([0, 1], [2, 5]),
            ([1, 2], [6, 4], [1, 2]),
            ([-3], [1 << 40], [1]),
            ([0], [7], [1], [2]),
            ([1], [7], [1], [3]),
            ([0], [6], [1], [4]),
            ([-1], [-(1 << 40)], [1], [-1]),
            ([5], [1], [1], [-2]),
            ([6], [-8], [1], [-4]),
            ([100, 4], [-100, -5], [1, 2], [-3, -1]),
            ([-100], [3], [-1], [2]),
            ([2], [3], [2], [5]),
        ]
    ),
    *(
        case("Pad", Var(normal(2, 4, 5)), ints(*pads), Var(1.5), label=f"filled by the image {pads}")
        for pads in [(0, 1, 2, 0, 0, 3), (0, -1, 2, 0, 1, -2)]
    ),
    *(
        case("Pad", Var(normal(2, 4, 5)), ints(*pads), *more, label=f"{mode} {pads}", mode=mode)
        for mode, pads, more in [
            ("constant", (0, 1, 2, 0, 0, 3), ()),
            ("constant", (0, 1, 2, 0, 0, 3), (scalar(1.5),)),
            ("constant", (0, -1, 2, 0, 1, -2), ()),
            ("constant", (1, 2, 0, 1), (None, ints(-1, 1))),
            ("reflect", (0, 1, 4, 0, 3, 2), ()),
            ("reflect", (2, 1), (None, ints(2))),
            ("edge", (1, 1, 2, 0, 3, 0), ()),
            ("constant", (0, 0, 0, 0, 0, 0), ()),
        ]
    ),
    *(
        case("Gather", Var(normal(2, 5, 3)), np.array(indices, np.int64), label=f"{indices}", axis=axis)
        for indices, axis in [(3, 1), ([0, 2, 2, -1], 1), ([[0, 1], [1, 1]], 2), ([1, 0], 0), (-1, -1)]
    ),
    case("Tile", Var(normal(2, 3, 4)), ints(1, 2, 3)),
    case("Tile", Var(normal(1, 3)), ints(4, 1), label="one axis"),
    *(case("Trilu", Var(normal(2, 4, 5)), upper=upper) for upper in (0, 1)),
    *(case("Trilu", Var(normal(4, 5)), np.array(k), label=f"from {k}") for k in (-2, 1)),
    *(
        case("CumSum", Var(normal(2, 4, 3)), np.array(k), exclusive=exclusive, reverse=reverse)
        for k in (1, -1)
        for exclusive in (0, 1)
        for reverse in (0, 1)
    ),
    case("OneHot", ints(0, 2, -1), np.array(3), Var(normal(2)), label="values of the image"),
    case("OneHot", np.array([[0, 2], [1, 3]]), np.array(4), Var(normal(2)), axis=1),
    case("GatherElements", Var(normal(3, 4)), np.array([[0, 2, -1, 2], [1, 2, 0, 2]])),
    case("GatherElements", Var(normal(3, 4)), np.array([[0, 2], [1, 1], [-4, 3]]), axis=1),
    *(
        case("GatherND", Var(normal(2, 3, 4)), np.array(indices), label=f"{indices}", batch_dims=batch)
        for indices, batch in [
            ([[0, 1], [1, 2], [0, 1]], 0),
            ([[-1, 1, 0]], 0),
            ([[[1], [1]], [[0], [1]]], 0),
            ([[2], [-3]], 1),
            ([[[1], [1]], [[0], [1]]], 1),
            ([[[1], [1], [0]], [[3], [-1], [2]]], 2),
        ]
    ),
    *(
        case(op, data, np.array(indices), updates, label=f"{indices}, {label}", reduction=reduction)
        for reduction in ("none", "add")
        for label, (data, updates) in SCATTERED.items()
        for op, indices in [("ScatterElements", [[0, 2, 1, 2], [1, 0, -1, 1]]), ("ScatterND", [[2], [0]])]
    ),
    case(
        "ScatterElements",
        Var(normal(2, 3)),
        np.array([[1, 1], [0, -3]]),
        Var(normal(2, 2)),
        axis=1,
        reduction="add",
        label="an entry twice",
    ),
    case(
        "ScatterND",
        Var(normal(2, 3)),
        np.array([[1, 1], [0, -1]]),
        Var(normal(2)),
        reduction="none",
        label="single entries",
    ),
]

WINDOWS = [
    *(case("LpPool", Var(apart(2, 3, 6, 5)), kernel_shape=[3, 2], strides=[2, 1], p=p) for p in (1, 2, 3)),
    case("LpPool", Var(apart(2, 3, 6)), kernel_shape=[2], label="one axis"),
    case(
        "LpPool",
        Var(apart(2, 3, 7, 6)),
        kernel_shape=[3, 3],
        pads=[1, 0, 2, 1],
        dilations=[2, 1],
        label="dilated",
    ),
    *(case("GlobalLpPool", Var(apart(2, 3, 4, 5)), p=p) for p in (1, 2, 3)),
    case("GridSample", Var(normal(1, 2, 4, 5)), normal(1, 3, 2, 2), tolerance=1e-6),
    case("Conv", Var(normal(2, 4, 6, 5)), normal(6, 2, 3, 2), normal(6), group=2, pads=[1, 0, 2, 1]),
    case("Conv", Var(normal(2, 4, 6)), normal(3, 4, 3), Var(normal(3)), label="bias of the image"),
    case("ConvTranspose", Var(normal(2, 4, 3, 4)), normal(4, 3, 3, 2), normal(6), group=2, strides=[2, 3]),
    case("ConvTranspose", Var(normal(2, 4, 3)), normal(4, 3, 3), Var(normal(3)), label="bias of the image"),
    case("MaxPool", Var(apart(2, 3, 6, 5)), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    case("MaxPool", Var(apart(2, 3, 6, 5)), kernel_shape=[2, 2], outputs=2, label="with indices"),
    case("AveragePool", Var(normal(2, 3, 6, 5)), kernel_shape=[3, 2], strides=[2, 1], tolerance=2e-7),
    case("Resize", Var(normal(1, 2, 3, 4)), None, f32(1, 1, 2, 2), mode="nearest", tolerance=2e-7),
]

CASES = [*ELEMENTWISE, *ARITHMETIC, *PRODUCTS, *REDUCTIONS, *NORMALIZATION, *PLACES, *WINDOWS]

Forward = Callable[[np.ndarray], np.ndarray]


def standardized(axes: tuple[int, ...]) -> Forward:
    return lambda x: (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)


# onnx's evaluator is not exact here, and `float64` replaces it; a formula in NumPy holds the replacement
IN_NUMPY: list[tuple[Case, Forward]] = [
    (case("MeanVarianceNormalization", Var(normal(*X)), axes=[0, 2, 3]), standardized((0, 2, 3))),
    (case("MeanVarianceNormalization", Var(normal(*X)), axes=[2, 3]), standardized((2, 3))),
    (case("MeanVarianceNormalization", Var(normal(*X)), axes=[1, -1]), standardized((1, 3))),
    *(
        (
            case("LpNormalization", Var(apart(*X)), p=1, axis=k),
            lambda x, k=k: x / np.abs(x).sum(k, keepdims=True),
        )
        for k in (0, 1, -1)
    ),
    (
        case("GatherElements", Var(normal(3, 4)), np.array([[0, 2], [1, 1], [-4, 3]]), axis=-1),
        lambda x: np.take_along_axis(x, np.array([[0, 2], [1, 1], [0, 3]]), 1),
    ),
    (
        case("GatherElements", Var(normal(3, 4)), np.array([[0, 2], [1, 1]]), label="of some columns"),
        lambda x: x[[[0, 2], [1, 1]], [[0, 1], [0, 1]]],
    ),
    (
        case(
            "ScatterElements", Var(normal(3, 4)), np.array([[0, 2]]), f32(7, 8)[None], label="to some columns"
        ),
        lambda x: np.where([[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]], [[7, 8, 0, 0]], x),
    ),
]


@pytest.mark.parametrize("which", CASES, ids=str)
def test_gradient_is_right(which: Case) -> None:
    check(which)


@pytest.mark.parametrize(("which", "forward"), IN_NUMPY, ids=[str(which) for which, _ in IN_NUMPY])
def test_gradient_is_that_of_the_formula(which: Case, forward: Forward) -> None:
    check(which)
    at = which.at["x0"].astype(np.float64)
    graph = forward_graph(which.model, {"x0": at.shape})
    weights = weights_of(graph)["y0"].astype(np.float64)
    close(run_single(graph, {"x0": at})[0].astype(np.float64), forward(at), 1e-5, least=1.0)
    numeric = np.zeros_like(at)
    for k in np.ndindex(at.shape):
        d = np.zeros_like(at)
        d[k] = 1e-6
        numeric[k] = (weights * (forward(at + d) - forward(at - d))).sum() / 2e-6
    close(run_single(gradient_graph(graph, "x0"), {"x0": at})[1].astype(np.float64), numeric, 1e-5, least=1.0)


def test_mean_variance_normalization_runs_over_all_but_channels_by_default(rng: np.random.Generator) -> None:
    # onnx's full check does not accept the node without its attribute; onnxruntime does
    at = rng.standard_normal(X).astype(np.float32)
    default, explicit = (
        session(gradient_graph(forward_graph(which.model, {"x0": X}), "x0").to_model()).run(None, {"x0": at})[
            1
        ]
        for which in (
            case("MeanVarianceNormalization", Var(at)),
            case("MeanVarianceNormalization", Var(at), axes=[0, 2, 3]),
        )
    )
    np.testing.assert_allclose(default, explicit, rtol=1e-4, atol=1e-5)
    assert np.abs(default).max() > 0.1


def gradient_at(which: Case) -> tuple[np.ndarray, np.ndarray]:
    """The gradient by onnxruntime at the case's point, and the weights of its one output."""
    graph = forward_graph(which.model, {k: v.shape for k, v in which.at.items()})
    return run_single(gradient_graph(graph, "x0"), which.at)[1], weights_of(graph)["y0"]


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_ties_of_an_extremum_share_its_gradient(op: str) -> None:
    rows = np.array([[1, 1, 1], [2, 2, 5], [5, 3, 3]], np.float32)
    gradient, weights = gradient_at(case(op, Var(rows), ints(1), keepdims=1))
    hits = rows == getattr(rows, op[-3:].lower())(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, weights * hits / hits.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize(
    "which",
    [
        case("ReduceL1", Var(np.zeros((2, 3))), ints(1)),
        case("ReduceL2", Var(np.zeros((2, 3))), ints(1)),
        case("LpNormalization", Var(np.zeros((2, 3))), p=1),
        case("LpNormalization", Var(np.zeros((2, 3))), p=2),
    ],
    ids=str,
)
def test_a_norm_has_gradient_zero_at_zero(which: Case) -> None:
    assert not gradient_at(which)[0].any()


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        (case("ReduceL2", Var(normal(2, 3)), ints(), noop_with_empty_axes=1), "reduces no axis"),
    ],
    ids=str,
)
def test_what_a_rule_does_not_cover_is_refused(which: Case, reason: str) -> None:
    (wrt,) = which.at
    graph = forward_graph(which.model, {wrt: which.at[wrt].shape})
    with pytest.raises(UnsupportedOpError, match=reason):
        gradient_graph(graph, wrt)


def test_slice_from_in_front_of_the_data_takes_the_first_sample() -> None:
    # onnx's evaluator takes none here, so only onnxruntime can be asked
    sliced = case("Slice", Var(np.arange(5)), *map(np.array, ([-100], [-100], [0], [-1])))
    graph = gradient_graph(forward_graph(sliced.model, {"x0": (5,)}), "x0")
    value, gradient = run_single(graph, {"x0": np.array([2, 3, 5, 7, 11])})
    assert np.count_nonzero(gradient) == 1
    np.testing.assert_allclose(value, 2 * gradient[0])


def test_a_row_that_attention_masks_entirely_has_gradient_zero(rng: np.random.Generator) -> None:
    # softmax is NaN there, and a Where behind it puts zeros
    bias = np.array([[0, -np.inf, 0], [-np.inf, -np.inf, -np.inf]], np.float32)
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"]),
        helper.make_node("Cast", ["p"], ["cast"], to=1),
        helper.make_node("Where", ["hidden", "zero", "cast"], ["y"]),
    ]
    constants = {"bias": bias, "hidden": np.array([[False], [True]]), "zero": scalar(0)}
    model = make_model(nodes, {"x": ((2, 3), 1)}, ["y"], constants)
    check(Case("masked rows", model, {"x": rng.standard_normal((2, 3)).astype(np.float32)}, 2e-7))


def test_every_rule_is_tested() -> None:
    tested = set().union(*(which.ops for which in CASES), *(which.ops for which, _ in IN_NUMPY))
    quantising = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}  # have a file of their own
    assert tested | quantising == RULES.entries.keys()
