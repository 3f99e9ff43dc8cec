"""The loop of a descent: what changes from step to step.

One step, in this order: draw a view (jitter, crop); run the network on it for value and gradient; take the
step (`step.Update`); write the history. On a GPU all of it is queued, network and step as CUDA graphs, and
what was measured arrives on the host some steps later; on the CPU it is there at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..arrays import Array, namespace, to_host
from ..errors import GradientError, InputError
from ..results import Result
from ..transforms import Resize
from .autosave import Autosave
from .budget import Budget, Cut
from .execution import Execution, execution
from .log import Aim, Log, Subject, Taken
from .plan import Stage
from .progress import StepInfo
from .rescue import Rescue
from .revival import Revival
from .settings import Settings, on_canvas
from .step import Iterate, Kept, Update

if TYPE_CHECKING:
    from ..gradient import Evaluates


class Loop:
    """The steps of a descent, one after the other; what is written down of them is in `log`.

    Parameters
    ----------
    engine, net, objective, settings
        As for `descend`.
    own : Aim, optional
        The objective with the targets of the engine's own images alone, which messages name, where the engine
        has a part of a batch.
    cut : Cut, optional
        Where to end, in place of all budgets.
    """

    def __init__(
        self,
        engine: Evaluates,
        net: Subject,
        objective: Aim,
        settings: Settings,
        own: Aim | None = None,
        cut: Cut | None = None,
    ) -> None:
        from ..gradient import as_engine

        if objective.maximize is None:
            raise InputError(
                f"{objective} adds terms to be maximised to others to be minimised, so its sense is unclear; "
                f"say sf.objectives.maximize(...) or sf.objectives.minimize(...)."
            )
        self._engine, self._settings = as_engine(engine), settings
        self._memory = self._engine.memory
        _, channels, height, width = engine.shape
        self._stages = settings.stages((height, width))
        sign = -1.0 if objective.maximize else 1.0  # the descent goes down D = sign * value
        self._rngs = settings.generators()
        self._taken = 0  # steps
        self._planned = 0  # steps before the coming one, had no stage been cut short
        self._cut = cut
        unlimited = settings if cut is None else replace(settings, seconds=None, patience=None)
        self._budget = Budget(unlimited, self._stages, sign)
        self.log = Log(self._engine, net, objective, settings, part=own is not None)
        self._autosave = Autosave(self._memory, settings.autosave_path, self.log.drawn)
        self._rescue = Rescue(self._engine.device, self.log, self._autosave, self._images, self._reached)
        self._revival = Revival(net, own or objective, settings)
        first = self._stages[0]
        with self._rescue.failing(), self._memory.turn():
            mask = self._given_mask(first)
            self._state = self._started(settings.first_image(channels, first.view, self._rngs))
            # copies, because on a GPU the images are changed in place
            self._given = None if mask is None else Kept(self._given_start(first), mask)  # as large as given
            kept = None if self._given is None else self._given.on(first.view.canvas)
            if kept is not None:
                kept = replace(kept, start=self._state.u.copy())
            self._execution = self._begun(Update(settings, first, sign, kept))

    # -- what `descend` asks for

    def steps(self) -> Iterator[int]:
        """Take all steps, one for each item asked for: the number of steps taken."""
        self.log.keep_snapshot(0, self._state.u)
        self._budget.start()
        before = 0
        for stage, length in zip(self._stages, self._lengths(), strict=False):
            with self._rescue.failing():
                self._enter(stage)
            self._budget.enter()
            for k in range(length):
                self._planned = before + k
                with self._rescue.failing():
                    self._step()
                yield self._taken
                if self._is_spent(stage):
                    break
            before += stage.steps
        if self._cut is not None and self._taken < self._settings.steps:
            self.log.stop(self._cut.by, self._cut.note(self._taken, self._settings.steps))

    def _lengths(self) -> Sequence[int]:
        """The steps of each stage, or of those that a run that is made again had begun."""
        return [stage.steps for stage in self._stages] if self._cut is None else self._cut.steps

    def info(self) -> StepInfo:
        """What there is to know of the step just taken; on a GPU it is waited for."""
        with self._rescue.failing():
            self._receive(all_of_them=True)
        record, u = self.log.records[-1], self._state.u
        if isinstance(u, np.ndarray):
            u = u.view()
            u.flags.writeable = False
        return StepInfo(
            step=self._taken,
            steps=self._settings.steps,
            octave=record.octave,
            tau=record.tau,
            value=record.value,
            mean_abs_gradient=record.mean_abs_gradient,
            u=u,
        )

    def finished(self) -> Result:
        """What has been reached, with the objective there, seen without jitter."""
        with self._rescue.failing():
            self._receive(all_of_them=True)
            with self._memory.turn():
                values, _ = self._evaluate(self._stage.view.still(len(self._state.u)))
            value = to_host(values)
            self._check_finite(value)
            return self._reached(self._images(), value)

    # -- a step

    def _step(self) -> None:
        tau = self._stage.tau * self._factor()
        with self._memory.turn():
            view = self._execution.draw(self._rngs)
            values, g = self._evaluate(view) if self._taken else self._revived(view)
            self._state, measured = self._execution.take(self._state, view, values, g, tau)
            later, warm = self._memory.later(measured), self._state.warm
            self._taken += 1
            gap, iterations = (None, None) if warm is None else (warm.gap, warm.iterations)
            self.log.expect(Taken(later, tau, self._stage.octave, gap, iterations))
            self._autosave.offer(self._taken, self._state.u)
            self.log.keep_snapshot(self._taken, self._state.u)
        self._receive()

    def _evaluate(self, view: Any) -> tuple[Array, Array]:
        """Value of the objective, and its gradient at what `view` shows of the canvas."""
        shown = self._execution.shown(view, self._state.u)
        return self._engine(namespace(shown).ascontiguousarray(shown))

    def _revived(self, view: Any) -> tuple[Array, Array]:
        """As `_evaluate`, for the first step: images without gradient start anew from stronger noise."""
        values, g = self._evaluate(view)
        for start, noise in self._revival.nudges:
            dead = self._revival.dead(values, g)
            if not dead.any():
                break
            u, note = self._revival.nudged(self._state.u, dead, start, noise, self._rngs)
            self._state = self._started(u)
            kept = self._execution.update.kept
            if kept is not None and self._given is not None:
                self._given = replace(self._given, start=self._state.u.copy())
                kept = replace(kept, start=self._given.start)
                self._execution.update = replace(self._execution.update, kept=kept)
            self.log.notes.append(note)
            values, g = self._evaluate(view)
        self._revival.check_start(values, g)
        return values, g

    def _factor(self) -> float:
        factor = self._settings.factor(self._planned, self._settings.steps)
        if not (checks.is_number(factor) and factor >= 0):
            raise InputError(
                f"The schedule gave {checks.shown(factor)} at step {self._planned}; a factor on tau is "
                "finite and not negative."
            )
        return float(factor)

    def _is_spent(self, stage: Stage) -> bool:
        """Whether the stage has to end before its last step; then it is written down why.

        What is decided on is waited for, so that it does not depend on how far a GPU is behind.
        """
        if not self._budget.is_limited:
            return False
        with self._rescue.failing():
            self._receive(all_of_them=True)
        self._budget.take(self.log.records[-1].value)
        by = self._budget.spent(stage)
        if by is not None:
            self.log.stop(by, self._budget.note(by, stage, self._taken, self._settings.steps))
        return by is not None

    def _receive(self, all_of_them: bool = False) -> None:
        """Look at the measurements that have arrived, and write them down."""
        for record in self.log.arrived(all_of_them):
            self._check_finite(record.value, record.mean_abs_gradient)
            self._revival.check_step(record.value, record.mean_abs_gradient > 0)
            self.log.records.append(record)

    def _check_finite(self, *measured: Array) -> None:
        """GradientError where a number is none; on the host the engine has looked already."""
        if self._memory.kind != "cpu" and not all(np.isfinite(numbers).all() for numbers in measured):
            raise GradientError(self._engine.blame(self._state.u))

    def _images(self) -> Array:
        return to_host(self._state.u)

    def _reached(self, u: Array, value: Array | None = None) -> Result:
        return self.log.result(u, value, self._execution.troubles())

    # -- stages

    @property
    def _stage(self) -> Stage:
        return self._execution.update.stage

    def _started(self, u: Array) -> Iterate:
        """The state of images of the host."""
        placed = self._memory.empty(u.shape, u.dtype)
        self._memory.put(placed, u)
        return self._in_coordinates(placed)

    def _in_coordinates(self, u: Array) -> Iterate:
        """The state of images: their coordinates, and back, so that both agree; pixels are their own."""
        P = self._settings.parametrization
        if P is None:
            return Iterate(u, u)
        z = P.start(u)
        return Iterate(P.image(z), z)

    def _enter(self, stage: Stage) -> None:
        """Enlarge the canvas to the stage's size; momentum and duals of another size are dropped."""
        if stage is self._stage:
            return
        canvas, kept = self._stage.view.canvas, self._execution.update.kept
        with self._memory.turn():
            if stage.view.canvas != canvas:
                u = Resize(canvas, stage.view.canvas).apply(self._state.u)
                if self._given is not None:
                    kept = self._given.on(stage.view.canvas)
                    u = kept.put_back(u)
                self._state = self._in_coordinates(u.clip(0, 1) if self._settings.clip else u)
            self.log.notes += self._execution.troubles()
            self._execution = self._begun(replace(self._execution.update, stage=stage, kept=kept))

    def _begun(self, update: Update) -> Execution:
        return execution(update, self._engine, len(self._state.u))

    def _given_start(self, stage: Stage) -> Array:
        """The images to start from, in the size that they were given in."""
        start = self._settings.start
        if not isinstance(start, np.ndarray) or start.shape[-2:] == stage.view.canvas:
            return self._state.u.copy()
        whole = (*self._state.u.shape[:2], *start.shape[-2:])
        return self._placed(np.broadcast_to(start, whole).astype(np.float32))

    def _given_mask(self, stage: Stage) -> Array | None:
        """The mask, in the size that it was given in."""
        canvas, mask = stage.view.canvas, self._settings.mask
        if mask is None:
            return None
        if on_canvas(mask, stage.view).shape != canvas:
            raise InputError(f"mask has the shape {mask.shape}, but the canvas is {canvas}.")
        return self._placed(mask)

    def _placed(self, array: Array) -> Array:
        """An array of the host where the images lie, in single precision."""
        placed = self._memory.empty(array.shape, np.float32)
        self._memory.put(placed, array)
        return placed
