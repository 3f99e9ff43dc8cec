"""How the steps of a stage are carried out: called on the host, queued and replayed on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.random import Generator

from ..arrays import Array
from ..devices import Replay
from ..transforms import DeviceView, LinearMap
from .step import Iterate, Update, arrays_of, is_capturable, settled

if TYPE_CHECKING:
    from ..gradient import ValueAndGradient


class Execution(Protocol):
    """A way of carrying out the steps of a stage."""

    update: Update

    def draw(self, rngs: Sequence[Generator]) -> Any:
        """What the network is shown at the coming step: a map of the canvas with its adjoint."""
        ...

    def shown(self, view: Any, u: Array) -> Array:
        """What a view shows of images."""
        ...

    def take(self, state: Iterate, view: Any, values: Array, g: Array, tau: float) -> tuple[Iterate, Array]:
        """Take a step, from value and gradient at what was shown; returns what was measured as well."""
        ...

    def troubles(self) -> list[str]:
        """What a reader of the result should know of it."""
        ...


class OnHost:
    """Steps that are done when they have been called."""

    def __init__(self, update: Update) -> None:
        self.update = update

    def draw(self, rngs: Sequence[Generator]) -> LinearMap:
        """As `Execution`."""
        return self.update.stage.view.draw(rngs)

    def shown(self, view: LinearMap, u: Array) -> Array:
        """As `Execution`."""
        return view.apply(u)

    def take(
        self, state: Iterate, view: LinearMap, values: Array, g: Array, tau: float
    ) -> tuple[Iterate, Array]:
        """As `Execution`."""
        return self.update(state, view, values, g, tau)

    def troubles(self) -> list[str]:
        """As `Execution`."""
        return []


class OnDevice:
    """Steps that are queued, in arrays whose addresses stay, and replayed from CUDA graphs where they can be.

    Parameters
    ----------
    update : Update
    engine : ValueAndGradient
    batch : int
    """

    def __init__(self, update: Update, engine: ValueAndGradient, batch: int) -> None:
        self.update, self._engine, self._memory = update, engine, engine.memory
        self._view = DeviceView(update.stage.view, engine.image, self._memory)
        self._tau = self._memory.empty((), np.float32)
        self._measured = self._memory.empty((3, batch), np.float64)
        self._capturable = engine.device.graphs and is_capturable(update.settings)
        self._state: Iterate | None = None
        self._show: Replay | None = None
        self._replay: Replay | None = None

    def draw(self, rngs: Sequence[Generator]) -> DeviceView:
        """As `Execution`."""
        return self._view.draw(rngs)

    def shown(self, view: Any, u: Array) -> Array:
        """As `Execution`; replayed from a graph once the images have their place."""
        if self._show is None or view is not self._view:
            return view.apply(u)  # type: ignore[no-any-return]
        self._show()
        return self._engine.image

    def take(
        self, state: Iterate, view: DeviceView, values: Array, g: Array, tau: float
    ) -> tuple[Iterate, Array]:
        """As `Execution`; in place, replayed from a graph as soon as all of its arrays are there."""
        self._state = state
        self._tau[...] = tau
        if self._replay is not None:
            self._replay()
        else:
            self._in_place(view, values, g)
            self._prepare(view, values, g)
        return self._state, self._measured

    def troubles(self) -> list[str]:
        """Why there is no graph where one was wanted."""
        troubles = [each.trouble for each in (self._show, self._replay) if each is not None]
        return [f"On device {str(self._engine.device)!r} {t}." for t in troubles if t is not None]

    def _in_place(self, view: DeviceView, values: Array, g: Array) -> None:
        assert self._state is not None
        new, measured = self.update(self._state, view, values, g, self._tau)
        self._state = settled(self._state, new)
        self._measured[...] = measured

    def _prepare(self, view: DeviceView, values: Array, g: Array) -> None:
        """What the coming steps replay."""
        state = self._state
        assert state is not None
        if self._show is None and self._engine.device.graphs:

            def show() -> None:
                view.apply(state.u)

            self._show = Replay(show, [self._engine.image], self._memory, capture=True)
        if self._capturable:
            arrays = [*arrays_of(state), self._measured]
            self._replay = Replay(lambda: self._in_place(view, values, g), arrays, self._memory, capture=True)


def execution(update: Update, engine: ValueAndGradient, batch: int) -> Execution:
    """The way that suits the memory in which the arrays of an engine lie."""
    return OnHost(update) if engine.memory.kind == "cpu" else OnDevice(update, engine, batch)
