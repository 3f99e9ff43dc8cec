"""Every gradient rule, at a table of its uses; geometries at random are in test_onnxgrad_windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradients import Case, Var, case, check, forward_graph, gradient_graph, run_single, spaced

from sobolevflow.onnxgrad import RULES

RNG = np.random.default_rng(20)


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
]

REDUCTIONS = [
    *(
        case(op, Var(normal(*X)), *axes, label=f"{label}, keepdims={keep}", keepdims=keep, **extra)
        for op in ("ReduceSum", "ReduceMean")
        for keep in (0, 1)
        for label, axes, extra in AXES
    ),
    case("GlobalAveragePool", Var(normal(*X))),
    case("GlobalAveragePool", Var(normal(2, 3, 7)), label="1-D"),
    case("GlobalMaxPool", Var(apart(*X))),
    case("GlobalMaxPool", Var(apart(2, 3, 2, 3, 2)), label="3-D"),
    *(case(op, Var(normal(*X)), axis=k) for op in ("Softmax", "LogSoftmax") for k in (0, 1, 2, -1)),
    case("Softmax", Var(normal(*X)), label="default axis"),
]

NORMALIZATION = [
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

PLACES = [
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
]

WINDOWS = [
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


@pytest.mark.parametrize("which", CASES, ids=str)
def test_gradient_is_right(which: Case) -> None:
    check(which)


def test_slice_from_in_front_of_the_data_takes_the_first_sample() -> None:
    # onnx's evaluator takes none here, so only onnxruntime can be asked
    sliced = case("Slice", Var(np.arange(5)), *map(np.array, ([-100], [-100], [0], [-1])))
    graph = gradient_graph(forward_graph(sliced.model, {"x0": (5,)}), "x0")
    value, gradient = run_single(graph, {"x0": np.array([2, 3, 5, 7, 11])})
    assert np.count_nonzero(gradient) == 1
    np.testing.assert_allclose(value, 2 * gradient[0])


def test_every_rule_is_tested() -> None:
    tested = set().union(*(which.ops for which in CASES))
    assert tested == RULES.entries.keys()
