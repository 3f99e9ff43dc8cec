"""The layers of a network, and which have a gradient: those for which an objective can be asked, now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property

from .. import checks
from ..errors import InputError, LimitError, ModelError, UnknownNameError
from ..onnxgrad import (
    Graph,
    Limits,
    check_memory,
    node_label,
    normalize,
    operator_of,
    with_gradient,
    without_rule,
)
from ..text import shortened
from . import advice
from .layers import Carried, LayerInfo, carried, list_layers
from .naming import is_pattern, matching
from .protocol import NetworkLike

_NAMED, _LONGEST = 5, 40  # layers that a message lists, and characters of each


class Layers:
    """The layers of a network; what `Network` says of layers is looked up here.

    Parameters
    ----------
    net : NetworkLike
    hidden : collection of str
        Tensors that are no layers of the file.
    """

    def __init__(self, net: NetworkLike, hidden: Collection[str]) -> None:
        self._net, self._hidden = net, hidden

    @cached_property
    def carried(self) -> Carried:
        """What carries a gradient to the image, as far as operators and types tell."""
        return carried(self._net.model, self._net.input_name, self._net.places.types)

    @cached_property
    def listed(self) -> list[LayerInfo]:
        """The layers, `differentiable` where their operators and types do not rule it out."""
        net = self._net
        layers = list_layers(net.model, net.input_name, net.places.types, self.carried)
        shown = (info for info in layers if info.name not in self._hidden)
        return [replace(info, shape=net.places.shown(info.name)) for info in shown]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...] | None]:
        """The shapes of the layers, by their names."""
        return {info.name: info.shape for info in self.listed}

    @cached_property
    def with_gradients(self) -> list[LayerInfo]:
        """The layers, `differentiable` where their gradient can be computed, as operators are used."""
        waiting = self._net.missing.waiting
        asked = [
            info.name
            for info in self.listed
            if info.differentiable and info.shape is not None and info.name not in waiting
        ]
        found = _found(self._net, asked) if asked else set()
        return [replace(info, differentiable=info.name in found) for info in self.listed]

    def find(self, name: str) -> LayerInfo | None:
        """The layer of that name, as `listed`; None if there is none."""
        return next((info for info in self.listed if info.name == name), None)

    def get(self, name: str) -> LayerInfo:
        """The one layer that is meant, as `listed`; UnknownNameError if there is none, or more than one."""
        if not isinstance(name, str):
            raise InputError(f"a layer is given by its name, not by {checks.shown(name)}")
        found = self.find(name)
        if found is not None:
            return found
        names = self.named(name)
        if len(names) == 1:
            return next(info for info in self.listed if info.name == names[0])
        if names:
            raise self._ambiguous(name, names)
        raise UnknownNameError(
            f"{self._net.name}: no layer {name!r}.{advice.near_layers(name, self.with_gradients)} "
            "List the layers with net.layers or 'sobolevflow inspect'"
        )

    def named(self, wanted: str) -> list[str]:
        """The names of all layers that are meant; see `naming`."""
        return matching(wanted, self.shapes)

    def meant(self, name: str) -> list[str]:
        """Each layer that a pattern fits, else the one that is meant."""
        several = self.named(name) if isinstance(name, str) and is_pattern(name) else []
        return several or [self.get(name).name]

    def _ambiguous(self, wanted: str, names: Sequence[str]) -> UnknownNameError:
        index = {name: k for k, name in enumerate(self.shapes)}
        shown = ", ".join(f"#{index[name]} {shortened(name, _LONGEST)!r}" for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return UnknownNameError(
            f"{self._net.name}: {wanted!r} may be any of {len(names)} layers: {shown}{more}; give the index, "
            "#N, or more of the name"
        )

    def check(self, name: str) -> None:
        """Refuse a layer that operators or types cut off, or that waits for an input; see `Network`."""
        info = self.get(name)
        name = info.name
        self._net.missing.check(self._net.name, [name])
        if info.differentiable:
            return
        node = self.carried.blocked.get(name)
        if node is not None:
            raise self._net.unsupported(without_rule(operator_of(node), node_label(node)))
        if info.dtype != "?" and "float" not in info.dtype:
            raise self._net.of_whole_numbers(name)


def _found(net: NetworkLike, asked: Sequence[str]) -> set[str]:
    """Those that have a gradient; where all of them together have no normal form, of each half by itself."""
    try:
        graph = normalize(
            net.model,
            input_shapes={net.input_name: net.image_input.tensor_shape(net.image_input.least)},
            keep=asked,
            feeds=net.feeds,
            weights=net.weights,
            limits=net.limits,
        )
        _check_memory_of_each(graph, net.limits)
    except ModelError as error:
        if isinstance(error, LimitError) and error.spent:
            raise
        if len(asked) == 1:
            return set()
        half = len(asked) // 2
        return {name for part in (asked[:half], asked[half:]) for name in _found(net, part)}
    return with_gradient(graph, net.input_name).intersection(asked)


def _check_memory_of_each(graph: Graph, limits: Limits) -> None:
    """ModelError where there is no memory for one of the layers, as rules need to count their places."""
    without_outputs = copy(graph)
    without_outputs.outputs = []
    check_memory(without_outputs, limits)
