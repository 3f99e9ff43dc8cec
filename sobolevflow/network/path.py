"""The path from the image to some tensors: what carries a gradient, and what lies beside what."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import onnx

from ..onnxgrad import RULES, attributes_of, operator_of, reads
from .protocol import NetworkLike

_ATTENDING = ("Attention", "MultiHeadAttention")
_MULTIPLYING = ("MatMul", "FusedMatMul", "Einsum", "MatMulInteger", "QLinearMatMul")
_SLIDING = ("Conv", "QLinearConv", "FusedConv", "ConvTranspose", "DeformConv", "ConvInteger")


@dataclass(frozen=True)
class Path:
    """The part of a network that a gradient runs through.

    Attributes
    ----------
    ends : tuple of str
        The tensors that it leads to.
    nodes : tuple of onnx.NodeProto
        In the file's order.
    names : tuple of str
        The tensors that carry the gradient, in the file's order, without the image; the ends among them.
    """

    ends: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    names: tuple[str, ...]

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.names)}

    @cached_property
    def _before(self) -> list[int]:
        """For each tensor those that it is computed from, as the bits of a number."""
        found = [0] * len(self.names)
        for node in self.nodes:
            read = [self._number[x] for x in reads(node) if x in self._number]
            bits = 0
            for k in read:
                bits |= found[k] | 1 << k
            for y in node.output:
                if y in self._number:
                    found[self._number[y]] = bits
        return found

    @cached_property
    def _behind(self) -> list[int]:
        """For each tensor those that are computed from it, as the bits of a number."""
        found = [0] * len(self.names)
        for node in reversed(self.nodes):
            bits = 0
            for y in node.output:
                if y in self._number:
                    bits |= found[self._number[y]] | 1 << self._number[y]
            for x in reads(node):
                if x in self._number:
                    found[self._number[x]] |= bits
        return found

    def leads_to_all(self, name: str, others: Iterable[str]) -> bool:
        """Whether others are all computed from a tensor."""
        return all(self._behind[self._number[name]] >> self._number[other] & 1 for other in others)

    def beside(self, names: Iterable[str], others: Iterable[str]) -> list[str]:
        """Those of some tensors that lie beside others: neither of both is computed from the other.

        A branch that is added or joined to another later on lies beside that.
        """
        among = sum({1 << self._number[other] for other in others})
        return [name for name in names if among & ~self._along(self._number[name])]

    def passes_all(self, name: str) -> bool:
        """Whether all that carries the gradient runs through a tensor: nothing goes past it."""
        k = self._number[name]
        before, behind = self._before[k], self._behind[k]
        if (1 << len(self.names)) - 1 & ~self._along(k):
            return False
        return not any(before & read and behind & made for read, made in self._steps)

    @cached_property
    def _steps(self) -> list[tuple[int, int]]:
        """For each node the tensors that it reads and those that it makes, as the bits of two numbers."""
        return [(self._bits(reads(node)), self._bits(node.output)) for node in self.nodes]

    def _bits(self, names: Iterable[str]) -> int:
        return sum({1 << self._number[name] for name in names if name in self._number})

    def _along(self, k: int) -> int:
        return self._before[k] | self._behind[k] | 1 << k

    def computed_from(self, names: Iterable[str]) -> list[str]:
        """Some tensors and all that is computed from them."""
        bits = 0
        for name in names:
            bits |= self._behind[self._number[name]] | 1 << self._number[name]
        return [name for k, name in enumerate(self.names) if bits >> k & 1]

    def behind(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that are computed from a tensor."""
        bits = self._behind[self._number[name]]
        return [
            node
            for node in self.nodes
            if any(bits >> self._number[y] & 1 for y in node.output if y in self._number)
        ]

    def attends(self, node: onnx.NodeProto) -> bool:
        """Whether positions look at others in a node, as in a product of two layers."""
        if node.op_type in _ATTENDING:
            return True
        return node.op_type in _MULTIPLYING and sum(x in self._number for x in node.input) > 1

    def mixes(self, node: onnx.NodeProto) -> bool:
        """Whether a node makes something of several positions, other than their mean or maximum."""
        if node.op_type in _SLIDING:  # the shape of its kernel may be left to the weights
            return any(size > 1 for size in attributes_of(node).get("kernel_shape", (2,)))
        return self.attends(node)


def gradient_path(net: NetworkLike, ends: Collection[str]) -> Path:
    """The path from the image of a network to some of its layers.

    Parameters
    ----------
    net : NetworkLike
    ends : collection of str
        Names of layers.

    Returns
    -------
    Path
        Without what stands beside it: shapes, indices and masks, which no gradient passes through, and
        branches that lead elsewhere.
    """
    carries = net.carried.names
    wanted, nodes = set(ends), []
    for node in reversed(net.model.graph.node):
        if wanted.intersection(node.output) and operator_of(node) not in RULES.stops:
            read = carries.intersection(reads(node))
            if read:
                wanted |= read
                nodes.append(node)
    names = [y for node in reversed(nodes) for y in node.output if y in wanted]
    return Path(tuple(ends), tuple(reversed(nodes)), tuple(names))
