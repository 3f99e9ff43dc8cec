"""How many images go through a network together, and whether those of a batch stay apart.

A file whose batch size is left open may take any number at once, if no operator on the way mixes them. One
that fixes it at one takes one at a time. One that fixes it at more is given that many: black images fill up
what is missing, and their results are cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError, ModelError
from ..onnxgrad import IMAGE, Graph, Node, graph_session, run, session_options
from .places import WHOLE, doubled_axis
from .protocol import NetworkLike

_REDUCING = (
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin", "MatMul", "Gemm", "Einsum"),
)
_ALONG = ("Softmax", "LogSoftmax", "Hardmax", "CumSum", "LpNormalization")
# How far values of an image may be apart with others beside it and without, relative to the largest.
_ROUNDING = 1e-3


class Batches:
    """What `Network` says of batches is looked up here.

    Parameters
    ----------
    net : NetworkLike
    """

    def __init__(self, net: NetworkLike) -> None:
        self._net = net
        self._fixed = net.image_input.fixed
        self._free: dict[frozenset[str], bool] = {}
        self._whole: dict[frozenset[str], bool] = {}

    def at_once(self, batch: int, layers: Sequence[str]) -> int:
        """How many of `batch` images may go to `layers` together.

        Raises
        ------
        InputError
            Each value of a layer is made of several images.
        """
        if self._fixed is None:
            return batch if batch == 1 or self.stay_apart(layers) else 1
        if self._fixed == 1:
            return 1
        if self._any_number(layers):
            return batch
        self._check_whole(layers)
        parts = -(-batch // self._fixed)
        return -(-batch // parts)

    def taken(self, batch: int, layers: Sequence[str]) -> int:
        """How many images the file itself is given where `batch` go together."""
        if self._fixed in (None, 1) or self._any_number(layers):
            return batch
        if batch > self._fixed:
            raise InputError(
                f"{self._net.name} takes {self._fixed} images at once, not {batch}: its batch size is fixed"
            )
        return self._fixed

    def stay_apart(self, layers: Sequence[str]) -> bool:
        """Whether two images may go to `layers` together; InputError where values are made of both."""
        if self._any_number(layers):
            return True
        key = frozenset(layers)
        if key not in self._whole:
            self._whole[key] = self._apart_in_pairs(layers)
        return self._whole[key]

    def _any_number(self, layers: Sequence[str]) -> bool:
        """Whether two images make every tensor on the way twice as long as one image does."""
        key = frozenset(layers)
        if key not in self._free:
            self._free[key] = self._grows(layers)
        return self._free[key]

    def _grows(self, layers: Sequence[str]) -> bool:
        if not all(self._place_is_first(name) for name in layers):
            return False
        pair = self._one_and_two(layers)
        return pair is not None and _is_twice(pair[1], pair[0]) and _mixing(*pair) is None

    def _place_is_first(self, name: str) -> bool:
        place = self._net.places.place(name)
        return place is not None and place.is_first

    def _one_and_two(self, layers: Sequence[str]) -> tuple[Graph, Graph] | None:
        """The graphs for one image and for two, whatever the file fixes; None where one does not run."""
        try:
            one, two = (self._net.graph(layers, n, taken=n)[0] for n in (1, 2))
        except ModelError:
            return None
        return one, two

    def _apart_in_pairs(self, layers: Sequence[str]) -> bool:
        """Whether two images together have the values that each has alone."""
        pair = self._one_and_two(layers)
        if pair is None:
            return False
        if (node := _mixing(*pair)) is not None:
            raise InputError(
                f"{self._net.name}: the values of layer {_last(layers)!r} are made of several images, at "
                f"node {node.name or node.outputs[0]!r} ({node.op}); give it one image at a time"
            )
        if any(self._net.places.place(name) == WHOLE for name in layers):
            return False
        one, two = pair
        names = [y for node in one.nodes for y in node.outputs if y and y in one.types and y in two.types]
        if not all(_size(two, y) == 2 * _size(one, y) for y in names):
            return False
        try:
            u = self._noise(2)
            together = self._run(layers, 2)(u)
            single = self._run(layers, 1)
            alone = [single(each) for each in (u[:1], u[1:])]
        except (ModelError, InputError):
            return False
        joined = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
        return all(_tells(b) and _agree(a, b) for a, b in zip(together, joined, strict=True))

    def _check_whole(self, layers: Sequence[str]) -> None:
        """InputError unless each image of a full batch changes its own values alone."""
        key, count = frozenset(layers), self._fixed
        assert count is not None
        for name in layers:
            if self._net.places.place(name) is None:
                raise InputError(
                    f"{self._net.name}: which values of layer {name!r} belong to which of {count} images "
                    "cannot be told, or they are made of several images; export the network with a batch "
                    "size that is left open"
                )
        if key not in self._whole:
            self._whole[key] = self._each_its_own(layers, count)
        if not self._whole[key]:
            raise InputError(
                f"{self._net.name}: the values of layer {_last(layers)!r} are made of several images, and "
                f"its batch size is fixed at {count}; export the network with a batch size that is left open"
            )

    def _each_its_own(self, layers: Sequence[str], count: int) -> bool:
        """Whether a change of one image of a full batch changes the values of that image alone."""
        compute, u, other = self._run(layers, count), self._noise(count), self._noise(count, seed=1)
        before = compute(u)
        for k in sorted({0, count // 2, count - 1}):
            changed = u.copy()
            changed[k] = other[k]
            rest = [j for j in range(count) if j != k]
            for a, b in zip(compute(changed), before, strict=True):
                if np.array_equal(a[k], b[k]) or not _agree(a[rest], b[rest]):
                    return False
        return True

    def _noise(self, count: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).random((count, *self._net.image_input.shape), np.float32)

    def _run(self, layers: Sequence[str], count: int) -> Callable[[np.ndarray], list[np.ndarray]]:
        """What computes layers of so many images together, whatever the file fixes."""
        graph, names = self._net.graph(layers, count, taken=count)
        outputs = graph.outputs = list(dict.fromkeys(names.values()))
        session = graph_session(graph, session_options(self._net.threads))
        return lambda u: run(session, outputs, {IMAGE: u})


def _is_twice(two: Graph, one: Graph) -> bool:
    """Whether every tensor of a graph for two images is twice as long as in that for one."""
    names = [y for node in one.nodes for y in node.outputs if y]
    if names != [y for node in two.nodes for y in node.outputs if y]:
        return False
    pairs = [(one.shape(y), two.shape(y)) for y in names]
    return all(len(a) > 0 and b == (2 * a[0], *a[1:]) for a, b in pairs)


def _mixing(one: Graph, two: Graph) -> Node | None:
    """The first node that sums or normalises over the axis of the images, or None."""
    for node in two.nodes:
        for x in node.inputs:
            axis = _own_axis(one, two, x)
            if axis is None:
                continue
            if node.op in _REDUCING and _stays(one, two, node.outputs[0]):
                return node
            if node.op in _ALONG and _along(two, node) % len(two.shape(x)) == axis:
                return node
            if node.op == "LayerNormalization" and node.attrs.get("axis", -1) % len(two.shape(x)) <= axis:
                return node
    return None


def _along(graph: Graph, node: Node) -> int:
    if node.op == "CumSum":
        value = graph.constant(node.inputs[1])
        return -1 if value is None else int(value.reshape(-1)[0])
    return int(node.attrs.get("axis", -1))


def _own_axis(one: Graph, two: Graph, name: str) -> int | None:
    """The axis that images have to themselves, of a tensor that has one."""
    if name not in one.types or name not in two.types:
        return None
    a, b = one.shape(name), two.shape(name)
    axis = doubled_axis(a, b)
    return axis if axis is not None and a[axis] == 1 else None


def _stays(one: Graph, two: Graph, name: str) -> bool:
    return name in one.types and name in two.types and _size(one, name) == _size(two, name)


def _size(graph: Graph, name: str) -> int:
    return int(np.prod(graph.shape(name), dtype=np.int64))


def _tells(values: np.ndarray) -> bool:
    """Whether two images have different values, so that it would show if they were exchanged."""
    return not np.array_equal(values[0], values[1])


def _agree(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    difference = np.abs(a.astype(np.float64) - b).max(initial=0)
    return bool(difference <= _ROUNDING * np.abs(b.astype(np.float64)).max(initial=0))


def _last(layers: Sequence[str]) -> str:
    return list(dict.fromkeys(layers))[-1]
