"""The loop of a descent: what changes from step to step, and what is written down of it.

One step, in this order: draw a view (jitter, crop); run the network on it for value and gradient; take the
step (`step.Step`); write the history. On a GPU all of it is queued, network and step as CUDA graphs, and what
was measured arrives on the host some steps later; on the CPU it is there at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from .. import filters
from ..arrays import Array, namespace, to_host
from ..devices import Host, Later, Memory, Replay, explained, is_of_device
from ..errors import DeviceError, GradientError, InputError, SobolevflowError
from ..pictures import Pixels
from ..results import History, Record, Result, StoppedBy, as_pictures, model_facts, plain, versions
from ..transforms import DeviceView, Resize
from .autosave import Autosave
from .gradient_scale import mean_abs
from .plan import Stage, grey
from .settings import Settings, effective_weight
from .step import MEAN_ABS_GRADIENT, RMS_STEP, VALUE, State, Step, arrays_of, is_capturable, settled

# A start without any gradient is replaced by grey with noise of these standard deviations, one after the
# other.
_NUDGES = (16 / 255, 32 / 255, 64 / 255, 96 / 255, 128 / 255)

# After so many steps in a row without any gradient in the whole batch the descent gives up.
_PATIENCE = 20

# An elastic scheme whose tau ends below this part of its largest value has smoothed its picture away.
_FADED = 0.1


class DescentError(GradientError):
    """The gradient failed on the way down.

    Parameters
    ----------
    message : str
        What failed, and at which step.
    result : Result or None
        What had been reached; None before the first step was taken.
    """

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class StepInfo:
    """What a callback is told after every step.

    Parameters
    ----------
    step, steps : int
        Steps completed, and steps planned.
    octave : int
        Counted from 0.
    tau : float
        The length of the step just taken.
    value : (N,) float64 array
        The objective before the step.
    mean_abs_gradient : (N,) float64 array
        Mean absolute value of its gradient.
    u : (N, C, H, W) float32 array
        The images after the step, to be read only; copy what is to be kept. On a CUDA device an array of
        CuPy, which the next step overwrites.
    """

    step: int
    steps: int
    octave: int
    tau: float
    value: Array
    mean_abs_gradient: Array
    u: Array


# Steps that a GPU may be behind the host before the host waits.
_BEHIND = 32


@dataclass(frozen=True)
class _Taken:
    """A step whose measurements may still be underway."""

    measured: Later
    tau: float
    octave: int
    tv_gap: float | None
    tv_iterations: int | None


class Loop:
    """Everything that changes from step to step."""

    def __init__(self, engine: Any, net: Any, objective: Any, settings: Settings) -> None:
        self._engine, self._net, self._objective, self._settings = engine, net, objective, settings
        if objective.maximize is None:
            raise InputError(
                f"{objective} adds terms to be maximised to others to be minimised, so its sense is unclear; "
                f"say sf.objectives.maximize(...) or sf.objectives.minimize(...)."
            )
        own: Memory | None = getattr(engine, "memory", None)
        self._memory: Memory = Host() if own is None else own
        self._on_device = self._memory.kind != "cpu"
        _, channels, height, width = engine.shape
        self._stages = settings.stages((height, width))
        self._stage = self._stages[0]
        self._sign = -1.0 if objective.maximize else 1.0  # the descent goes down D = sign * value
        self._rngs = settings.generators()
        self._steps_without_gradient = 0
        self._taken = 0
        self._underway: deque[_Taken] = deque()
        self._autosave = Autosave(self._memory, settings.autosave_path, self._drawn)
        self._snapshots: dict[int, Pixels] = {}
        self._snapshot_steps = settings.snapshot_steps()
        self._stopped_by: StoppedBy = "steps"
        self._notes: list[str] = []
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self.records: list[Record] = []
        self._rule: Step
        self._state: State
        self._show: Replay | None = None
        self._replay: Replay | None = None
        self._mask: Array | None = None
        with self._failing(), self._memory.turn():
            self._mask = self._first_mask()
            self._start(settings.first_image(channels, self._stage.view.canvas, self._rngs))

    # -- what `descend` asks for

    def steps(self) -> Iterator[int]:
        """Take all steps, one for each item asked for: the number of steps taken."""
        self._keep_snapshot()
        for stage in self._stages:
            with self._failing():
                self._enter(stage)
            for _ in range(stage.steps):
                with self._failing():
                    self._step()
                yield self._taken

    @property
    def latest_value(self) -> float:
        """The mean value of the last step that is known on the host."""
        return float(np.mean(self.records[-1].value)) if self.records else float("nan")

    def info(self) -> StepInfo:
        """What there is to know of the step just taken; on a GPU it is waited for."""
        with self._failing():
            self._receive(all_of_them=True)
        record, u = self.records[-1], self._state.u
        if isinstance(u, np.ndarray):
            u = u.view()
            u.flags.writeable = False
        return StepInfo(
            step=self._taken,
            steps=self._settings.total_steps,
            octave=record.octave,
            tau=record.tau,
            value=record.value,
            mean_abs_gradient=record.mean_abs_gradient,
            u=u,
        )

    def stop(self, by: StoppedBy, note: str) -> None:
        """Remember that the loop ended early, and why."""
        self._stopped_by = by
        self._notes.append(note)

    def finished(self) -> Result:
        """What has been reached, with the objective there, seen without jitter."""
        with self._failing():
            self._receive(all_of_them=True)
            with self._memory.turn():
                view = self._stage.view.still(len(self._state.u))
                values, _ = self._evaluate(view)
            found = to_host(values)
            if self._on_device and not np.isfinite(found).all():
                raise GradientError(self._engine.blame(self._state.u))
            return self._result(to_host(self._state.u), found)

    # -- a step

    def _step(self) -> None:
        tau = self._stage.tau * self._factor()
        with self._memory.turn():
            view = self._views.draw(self._rngs)
            values, g = self._revived(view) if not self._taken else self._evaluate(view)
            measured = self._advance(view, values, g, tau)
            later = self._memory.later(measured)
            self._taken += 1
            warm = self._state.warm
            self._underway.append(
                _Taken(
                    later,
                    tau,
                    self._stage.octave,
                    None if warm is None else warm.gap,
                    None if warm is None else warm.iterations,
                )
            )
            self._autosave.offer(self._taken, self._state.u)
            self._keep_snapshot()
        self._receive()

    def _advance(self, view: Any, values: Array, g: Array, tau: float) -> Array:
        """Take the step; return what was measured."""
        if not self._on_device:
            self._state, on_host = self._rule(self._state, view, values, g, tau)
            return on_host
        self._tau[...] = tau
        self._queued(view, values, g)
        return self._measured

    def _queued(self, view: Any, values: Array, g: Array) -> None:
        """The step in place, replayed from a graph as soon as all of its arrays are there."""
        if self._replay is not None:
            self._replay()
            return
        self._in_place(view, values, g)
        if self._show is None and self._engine.device.graphs:
            image = [self._engine.image]
            self._show = Replay(lambda: view.apply(self._state.u), image, self._memory, capture=True)
        if self._wants_graph:
            arrays = [*arrays_of(self._state), self._measured]
            self._replay = Replay(lambda: self._in_place(view, values, g), arrays, self._memory, capture=True)

    def _in_place(self, view: Any, values: Array, g: Array) -> None:
        new, measured = self._rule(self._state, view, values, g, self._tau)
        self._state = settled(self._state, new)
        self._measured[...] = measured

    def _evaluate(self, view: Any) -> tuple[Array, Array]:
        """Value of the objective, and its gradient at what `view` shows of the canvas."""
        shown = self._shown(view)
        return self._engine(namespace(shown).ascontiguousarray(shown))  # type: ignore[no-any-return]

    def _shown(self, view: Any) -> Array:
        """What `view` shows of the canvas; on a GPU replayed from a graph once images have their place."""
        if self._show is None or view is not self._views:
            return view.apply(self._state.u)  # type: ignore[no-any-return]
        self._show()
        return self._engine.image  # type: ignore[no-any-return]

    def _factor(self) -> float:
        factor = float(self._settings.factor(self._taken, self._settings.total_steps))
        if not (np.isfinite(factor) and factor >= 0):
            raise InputError(
                f"The schedule gave {factor} at step {self._taken}; a factor on tau is finite and "
                "not negative."
            )
        return factor

    # -- stages

    def _start(self, u: Array) -> None:
        """Begin with images of the host."""
        placed = self._memory.empty(u.shape, u.dtype)
        self._memory.put(placed, u)
        self._state = self._in_coordinates(placed)
        # a copy, because on a GPU the images are changed in place
        self._kept: Array | None = None if self._mask is None else self._state.u.copy()

    def _in_coordinates(self, u: Array) -> State:
        """The state of images: their coordinates, and back, so that both agree; pixels are their own."""
        P = self._settings.parametrization
        if P is None:
            return State(u, u)
        z = P.start(u)
        return State(P.image(z), z)

    def _enter(self, stage: Stage) -> None:
        """Enlarge the canvas to the stage's size; momentum and duals of another size are dropped."""
        with self._memory.turn():
            if stage.view.canvas != self._stage.view.canvas:
                resize = Resize(self._stage.view.canvas, stage.view.canvas)
                u = resize.apply(self._state.u)
                self._state = self._in_coordinates(u.clip(0, 1) if self._settings.clip else u)
                if self._mask is not None:
                    assert self._kept is not None
                    self._kept = resize.apply(self._kept)
                    self._mask = resize.apply(self._mask[None, None])[0, 0].clip(0, 1)
            self._stage = stage
            self._rule = Step(self._settings, stage, self._sign, self._kept, self._mask)
            self._views: Any = stage.view
            if self._on_device:
                self._prepare_device()

    def _prepare_device(self) -> None:
        """What a step on a GPU reads and writes at addresses that stay."""
        batch = len(self._state.u)
        self._views = DeviceView(self._stage.view, self._engine.image, self._memory)
        self._tau: Array = self._memory.empty((), np.float32)
        self._measured: Array = self._memory.empty((3, batch), np.float64)
        self._wants_graph: bool = self._engine.device.graphs and is_capturable(self._settings)
        self._notes += self._notes_of_replays()
        self._show = self._replay = None

    def _first_mask(self) -> Array | None:
        mask, canvas = self._settings.mask, self._stage.view.canvas
        if mask is None:
            return None
        if mask.shape != canvas:
            raise InputError(f"mask has the shape {mask.shape}, but the canvas is {canvas}.")
        placed = self._memory.empty(mask.shape, np.float32)
        self._memory.put(placed, mask)
        return placed

    # -- images without a gradient

    def _revived(self, view: Any) -> tuple[Array, Array]:
        """As `_evaluate`, for the first step: images without gradient start anew from stronger noise.

        A start that the user gave is left alone.
        """
        values, g = self._evaluate(view)
        for noise in _NUDGES if self._settings.start_is_random else ():
            dead = self._dead_at(values, g)
            if not dead.any():
                break
            self._nudge(dead, noise)
            values, g = self._evaluate(view)
        dead = self._dead_at(values, g)
        if dead.any():
            tried = ", even with strong noise" if self._settings.start_is_random else ""
            raise self._failed(self._no_gradient(f"at the start for {_listed(dead)}{tried}"))
        return values, g

    def _nudge(self, dead: Array, noise: float) -> None:
        u = to_host(self._state.u).copy()
        for i in np.flatnonzero(dead):
            u[i] = grey(self._rngs[i], u[i].shape, noise)
        self._start(u)
        self._rule = replace(self._rule, kept=self._kept)
        self._notes.append(
            f"The gradient was zero at the start for {_listed(dead)}; started from grey with noise "
            f"{255 * noise:.0f}/255 instead."
        )

    def _dead_at(self, values: Array, g: Array) -> Array:
        return self._dead(to_host(values), to_host(mean_abs(g)) != 0)

    def _dead(self, values: Array, moving: Array) -> Array:
        """Images without gradient, except those that have reproduced their features to the last bit."""
        solved = np.zeros_like(moving) if self._objective.maximize else values <= 0
        return ~(moving | solved)

    def _no_gradient(self, where: str) -> str:
        hint = self._net.preactivation_hint(self._objective)
        remedy = hint or "Try another start, a larger noise, or an objective in an earlier layer."
        return f"The gradient of {self._objective} is zero {where}. {remedy}"

    # -- what was measured

    def _receive(self, all_of_them: bool = False) -> None:
        """Write down the steps whose measurements have arrived; wait for those of long ago."""
        while self._underway:
            if not (all_of_them or len(self._underway) > _BEHIND or self._underway[0].measured.there):
                return
            self._write_down(self._underway.popleft())

    def _write_down(self, taken: _Taken) -> None:
        measured = taken.measured.get()
        values, scale = measured[VALUE], measured[MEAN_ABS_GRADIENT]
        if self._on_device and not (np.isfinite(values).all() and np.isfinite(scale).all()):
            # elsewhere the engine has looked at them already
            raise GradientError(self._engine.blame(self._state.u))
        self._check_alive(values, scale > 0)
        self.records.append(
            Record(
                value=values,
                mean_abs_gradient=scale,
                rms_step=measured[RMS_STEP],
                tau=taken.tau,
                octave=taken.octave,
                tv_gap=taken.tv_gap,
                tv_iterations=taken.tv_iterations,
            )
        )

    def _check_alive(self, values: Array, moving: Array) -> None:
        """Give up after many steps in which no image of the batch has moved."""
        stuck = self._dead(values, moving)
        self._steps_without_gradient = self._steps_without_gradient + 1 if stuck.all() else 0
        if self._steps_without_gradient >= _PATIENCE:
            raise self._failed(self._no_gradient(f"for all images over the last {_PATIENCE} steps"))

    def _keep_snapshot(self) -> None:
        if self._taken in self._snapshot_steps:
            self._snapshots[self._taken] = self._drawn(to_host(self._state.u))

    def _drawn(self, u: Array) -> Pixels:
        """Images as pictures, or what the generator draws for codes."""
        if not getattr(self._net, "latent", False):
            return as_pictures(u)
        from ..network import pictures

        return as_pictures(pictures(self._net, u))

    # -- failures

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Attach to errors what had been reached."""
        try:
            yield
        except DescentError:
            raise
        except GradientError as error:
            raise self._failed(f"Step {len(self.records) + 1}: {error}") from error
        except DeviceError as error:
            self._rescue(error)
            raise
        except SobolevflowError:
            raise
        except Exception as error:
            # what a function of the user's raises is his
            if not (self._on_device and is_of_device(error)):
                raise
            failure = explained(error, str(self._engine.device))
            self._rescue(failure)
            raise failure from error

    def _failed(self, message: str) -> DescentError:
        """The error to raise, with what had been reached attached."""
        if not self.records:
            return DescentError(message, None)
        self.stop("error", message)
        u = to_host(self._state.u)
        self._autosave.save(u)
        return DescentError(message, self._result(u, None))

    def _rescue(self, error: DeviceError) -> None:
        """Attach to a device's failure the images that can still be had: these, or those of a while ago."""
        self.stop("error", str(error))
        try:
            u = to_host(self._state.u)
        except Exception:  # the device is gone, with all that lay there
            if self._autosave.latest is None:
                return
            step, u = self._autosave.latest
            self._notes.append(f"The images are those after step {step}, when they were last saved.")
        if self.records:
            self._autosave.save(u)
            error.result = self._result(u, None)

    # -- the result

    def _result(self, u: Array, value: Array | None) -> Result:
        history = History(tuple(self.records), len(u))
        self._note_vanishing_steps(history)
        latent = getattr(self._net, "latent", False)
        return Result(
            u=u,
            value=value,
            history=history,
            snapshots=self._snapshots,
            stopped_by=self._stopped_by,
            notes=tuple(self._all_notes()),
            manifest=plain(self._manifest(u, history, value)),
            drawn=self._drawn(u) if latent else None,
        )

    def _all_notes(self) -> list[str]:
        found = [*getattr(self._engine, "notes", ()), *self._notes, *self._notes_of_replays()]
        return list(dict.fromkeys(found))

    def _notes_of_replays(self) -> list[str]:
        troubles = [each.trouble for each in (self._show, self._replay) if each is not None]
        return [f"On device {str(self._engine.device)!r} {t}." for t in troubles if t is not None]

    def _note_vanishing_steps(self, history: History) -> None:
        """K_e smooths as strongly at a small tau as at a large one, so in the end it wins."""
        elastic = not isinstance(self._settings.scheme.K_e, filters.Identity)
        if not elastic or self._settings.octaves is not None or len(history) < 2:
            return
        if history.tau[-1] < _FADED * history.tau.max():
            self._notes.append(
                "tau fell to nearly nothing while the elastic K_e smoothed as strongly at every step, which "
                "blurs the picture; keep tau constant with an elastic scheme, or use a fluid one."
            )

    def _manifest(self, u: Array, history: History, value: Array | None) -> dict[str, Any]:
        seconds = time.perf_counter() - self._clock
        return {
            "versions": versions(),
            "model": model_facts(self._net),
            "objective": {
                "label": str(self._objective),
                "maximize": bool(self._objective.maximize),
                **self._objective.to_dict(),
                "indices": getattr(self._engine, "indices", {}),
            },
            "parameters": self._settings.to_dict(),
            "outcome": {
                "stopped_by": self._stopped_by,
                "steps": len(history),
                "value": None if value is None else [float(v) for v in value],
                "shape": list(u.shape),
                "notes": self._all_notes(),
                "effective_weight": effective_weight(self._settings, history),
            },
            "timings": {
                "started": self._started.isoformat(timespec="seconds"),
                "seconds": round(seconds, 3),
                "seconds_per_step": round(seconds / max(1, len(history)), 5),
                "images_at_once": getattr(self._engine, "at_once", len(u)),
            },
        }


def _listed(dead: Array) -> str:
    numbers = ", ".join(str(i) for i in np.flatnonzero(dead))
    return f"image {numbers}" if dead.sum() == 1 else f"images {numbers}"
