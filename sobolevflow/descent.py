"""The loop: from a grey picture down to one that the objective likes.

One step, in this order: draw a view (jitter, crop); run the network on it for value and gradient; carry the
gradient back through the adjoint of the view; normalise it; let the optimizer turn it into a direction; take
the scheme's step, u = K_e(u - tau K_f(g)); clip to [0, 1], last and once; write the history.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import filters, manifest
from .arrays import Array
from .defaults import Task, filled
from .errors import GradientError, InputError
from .history import History, Record
from .images import Pixels
from .normalise import Normalised, mean_abs, unit_mean
from .optimizers import Optimizer
from .parametrization import Parametrization
from .progress import progress_bar
from .proximal import StepState
from .result import Result, StoppedBy, as_pictures
from .schemes import Scheme
from .settings import Normalisation, Octave, Schedule, Settings, Stage, grey
from .transforms import Chain, Distribution, Resize

if TYPE_CHECKING:
    from .network import Network
    from .objectives import Objective

__all__ = ["DescentError", "Octave", "StepInfo", "descend", "invert", "visualize"]

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

    def __init__(self, message: str, result: Result | None) -> None:
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
        The images after the step, read-only; copy what is to be kept.
    """

    step: int
    steps: int
    octave: int
    tau: float
    value: Array
    mean_abs_gradient: Array
    u: Array


Callback = Callable[[StepInfo], bool | None]


def visualize(
    net: Network,
    objective: Objective,
    *,
    scheme: Scheme | None = None,
    steps: int = 160,
    tau: float | None = None,
    schedule: Schedule | Literal["auto"] = "auto",
    optimizer: str | Optimizer = "auto",
    normalise: Normalisation | Literal["auto"] = "auto",
    canvas: Sequence[int] | None = None,
    batch: int | None = None,
    octaves: int | Sequence[Octave] | None = None,
    jitter: int | None = None,
    crops: Distribution = "uniform",
    rotate: float | None = None,
    zoom: float | None = None,
    seed: int = 0,
    start: Literal["grey", "normal"] | Array | None = None,
    noise: float = 8 / 255,
    device: str = "cpu",
    progress: bool = True,
    callback: Callback | None = None,
    snapshots: int | Sequence[int] = 0,
    clip: bool | None = None,
    parametrization: Parametrization | None = None,
    mask: Array | None = None,
) -> Result:
    """Descend to images that an objective likes: activation maximization, equations (1) and (4).

    Parameters
    ----------
    net : Network
        From `sf.load`.
    objective : Objective
        What to maximise (`sf.Class`, `sf.Channel`, ...) or to match (`sf.Inversion`).
    scheme : Scheme, optional
        How a gradient changes the image. Unless given, fluid Sobolev demons of natural colours with
        gamma = 1000 for images of 224 pixels: see Notes, which also has the defaults of what follows.
    steps : int
        Number of steps, each one evaluation of value and gradient. Not used where `octaves` are `Octave`s,
        which have their own.
    tau : float, optional
        Length of a step, in the unit of the image. Without normalisation it has no default.
    schedule : {"auto", "constant", "cosine"} or callable
        The factor on tau: 1, half a cosine from 1 down to 0, or a function of (step, steps), where step
        counts from 0 over the whole run.
    optimizer : {"auto", "descent", "momentum", "adam"} or Optimizer
        What becomes of the gradient before K_f. Momentum wants a tau about ten times smaller.
    normalise : {"auto", "before", "after"} or None
        Divide each image's gradient by its mean absolute value, before K_f or after it. "before" leaves K_f
        its damping, "after" makes every step equally long; None takes gradients as they are.
    canvas : (H, W), optional
        A canvas larger than the network's input: each step shows the network a random crop of it, filters act
        on the whole. Steps should grow with the area, since each one reaches one crop only.
    batch : int, optional
        Number of images; as many as the objective has targets unless given, that is 1 for ``sf.Class(121)``
        and 3 for ``sf.Class([1, 20, 300])``. Image i has its own random numbers, seeded with ``seed + i``,
        so that it does not depend on the others: it is the image that ``batch=1, seed=seed + i`` gives, to
        the rounding of the inference runtime.
    octaves : int or sequence of Octave, optional
        Sizes of the canvas relative to the network's input, from coarse to fine, with bicubic enlargement in
        between. A number n stands for the scales 1.0, 1.1, 1.2, ..., each with half the steps and half the
        tau of the one before.
    jitter : int, optional
        Each step rolls the image by up to so many pixels along both axes, and rolls the gradient back.
        Where a crop moves already, jitter does not.
    crops : {"uniform", "normal"}
        Where crops of a larger canvas lie: everywhere, or about the middle as in the paper's experiments.
    rotate : float, optional
        Each step turns what the network is shown by up to so many degrees to either side.
    zoom : float, optional
        Each step enlarges or reduces what the network is shown by up to this share, 0.1 for a factor of 1.1.
    seed : int
        Of all random numbers.
    start : "grey", "normal" or array, optional
        Grey with noise unless an array (C, H, W) or (N, C, H, W) in [0, 1] is given, taken without noise.
        Normal noise of standard deviation 1 is for the codes of generators, and the default there.
    noise : float
        Standard deviation of the noise on grey, in the unit of the image.
    device : str
        Where the network runs: "cpu" or "cuda".
    progress : bool
        Show a progress bar where the standard error is a terminal.
    callback : callable, optional
        Called after each step with a `StepInfo`; returning True ends the descent.
    snapshots : int or sequence of int
        Keep 8-bit copies: that many, evenly spaced, or after these numbers of steps (0 is the start).
    clip : bool, optional
        Keep the image in [0, 1]; the default for all but the codes of generators.
    parametrization : Parametrization, optional
        Descend in other coordinates than pixels: `sf.Fourier` or `sf.Phase`. They have no scheme, and by
        default Adam with tau = 0.05, in the unit of the coordinates.
    mask : (H, W) array, optional
        Where the image may change, weights in [0, 1] or booleans; elsewhere it stays the start. Of the size
        of the canvas, or of its first octave.

    Returns
    -------
    Result
        Also after Ctrl-C, with what had been reached; ``result.interrupted`` and ``result.notes`` say so.

    Raises
    ------
    InputError, UnknownNameError
        A parameter makes no sense; nothing has been computed.
    GradientError
        The gradient is zero everywhere from the start, even with stronger noise, or later for all images over
        20 steps, or is not finite. The error's ``result`` holds what had been reached.
    SobolevflowError
        As the network, objective and device raise.

    Notes
    -----
    Without a scheme the recipe is the one that docs/recipes.md measures: momentum, tau = 1/255 falling by a
    cosine, gradients normalised after K_f, jitter of 16 pixels, turns of 8 degrees and zooms of 0.1 for a
    network that takes 224 pixels; gamma and jitter grow with that size. With a scheme the defaults are the
    paper's: plain descent of constant tau = 5/255, normalised before K_f, jitter of 2 pixels, nothing else.

    One step costs one run of the gradient graph, a multiple of the network's forward pass; the filters take a
    few nanoseconds a pixel. A run on the CPU is repeatable bit by bit on one machine and number of threads.
    An image whose gradient vanishes during the descent stays as it is until a gradient returns.
    """
    return _run(
        "visualize",
        net,
        objective,
        batch,
        progress,
        callback,
        scheme=scheme,
        tau=tau,
        schedule=schedule,
        optimizer=optimizer,
        normalise=normalise,
        jitter=jitter,
        rotate=rotate,
        zoom=zoom,
        parametrization=parametrization,
        start=start,
        clip=clip,
        steps=steps,
        canvas=canvas,
        octaves=octaves,
        crops=crops,
        seed=seed,
        noise=noise,
        device=device,
        snapshots=snapshots,
        mask=mask,
    )


def invert(
    net: Network,
    objective: Objective,
    *,
    scheme: Scheme | None = None,
    steps: int = 300,
    tau: float | None = None,
    schedule: Schedule | Literal["auto"] = "auto",
    optimizer: str | Optimizer = "auto",
    normalise: Normalisation | Literal["auto"] = "auto",
    canvas: Sequence[int] | None = None,
    batch: int | None = None,
    octaves: int | Sequence[Octave] | None = None,
    jitter: int | None = None,
    crops: Distribution = "uniform",
    rotate: float | None = None,
    zoom: float | None = None,
    seed: int = 0,
    start: Literal["grey", "normal"] | Array | None = None,
    noise: float = 8 / 255,
    device: str = "cpu",
    progress: bool = True,
    callback: Callback | None = None,
    snapshots: int | Sequence[int] = 0,
    clip: bool | None = None,
    parametrization: Parametrization | None = None,
    mask: Array | None = None,
) -> Result:
    """Descend to images with given features: inversion, equation (3).

    The loop of `visualize` with the defaults that suit inversion.

    Parameters
    ----------
    net : Network
        From `sf.load`.
    objective : Inversion
        ``sf.Inversion(layer, image)``.
    scheme : Scheme, optional
        Unless given, fluid Sobolev demons of natural colours with gamma = 300 for images of 224 pixels, in a
        recipe with momentum, tau = 1/255 falling by a cosine, gradients normalised after K_f and a jitter of
        4 pixels: what the other network recognises most often in docs/recipes.md. The jitter costs some of
        the feature error, and keeps out what only one position of one network sees.
    steps, tau, schedule, normalise, jitter
        As in `visualize`. With a scheme the defaults are tau = 4/255, falling by a cosine, because normalised
        steps of constant length never settle; normalised after K_f; no jitter.
    optimizer, canvas, batch, octaves, crops, rotate, zoom, seed, start, noise, device
        As in `visualize`.
    progress, callback, snapshots, clip, parametrization, mask
        As in `visualize`.

    Returns
    -------
    Result

    Raises
    ------
    SobolevflowError
        As `visualize`.
    """
    return _run(
        "invert",
        net,
        objective,
        batch,
        progress,
        callback,
        scheme=scheme,
        tau=tau,
        schedule=schedule,
        optimizer=optimizer,
        normalise=normalise,
        jitter=jitter,
        rotate=rotate,
        zoom=zoom,
        parametrization=parametrization,
        start=start,
        clip=clip,
        steps=steps,
        canvas=canvas,
        octaves=octaves,
        crops=crops,
        seed=seed,
        noise=noise,
        device=device,
        snapshots=snapshots,
        mask=mask,
    )


def _batch(objective: Objective, batch: int | None) -> int:
    """The number of images: that of the objective's targets where it is left open."""
    from .objectives import Objective, natural_batch

    if not isinstance(objective, Objective):
        raise InputError(
            f"objective must be one such as sf.Class(121) or sf.Channel(layer, 3), got {objective!r}."
        )
    return natural_batch(objective) if batch is None else batch


def _run(
    task: Task,
    net: Network,
    objective: Objective,
    batch: int | None,
    progress: bool,
    callback: Callback | None,
    **given: Any,
) -> Result:
    """Fill in the defaults, build the gradient of the objective, and descend."""
    from .engine import Engine
    from .network import Network

    count = _batch(objective, batch)
    if not isinstance(net, Network):
        raise InputError(f"net must be a network opened by sf.load, got {net!r}.")
    settings = Settings(batch=count, **filled(task, given, net.input_shape, net.latent))
    settings.stages(_hw(net.input_shape))  # a canvas that is too small should not wait for the engine
    engine = Engine(net, objective, batch=settings.batch, device=settings.device)
    return descend(engine, net, objective, settings, progress=progress, callback=callback)


def descend(
    engine: Any,
    net: Any,
    objective: Any,
    settings: Settings,
    *,
    progress: bool = True,
    callback: Callback | None = None,
) -> Result:
    """Run the loop on a compiled objective.

    Parameters
    ----------
    engine : callable
        From u, (N, C, H, W) float32, to the objective's (values (N,), gradient (N, C, H, W)); it has the
        attribute ``shape``. `sobolevflow.engine.Engine` is one.
    net, objective
        As for `visualize`; the sense of the objective is used, everything else goes into the manifest.
    settings : Settings
        The checked parameters.
    progress, callback
        As for `visualize`.

    Returns
    -------
    Result

    Raises
    ------
    DescentError
        As `visualize`.
    """
    loop = _Loop(engine, net, objective, settings)
    with progress_bar(str(objective), settings.total_steps, progress) as advance:
        try:
            for info in loop.steps():
                advance(float(np.mean(info.value)))
                if callback is not None and callback(info):
                    loop.stop("callback", f"Stopped by the callback after {info.step} of {info.steps} steps.")
                    break
        except KeyboardInterrupt:
            done = len(loop.records)
            loop.stop("interrupt", f"Interrupted after {done} of {settings.total_steps} steps.")
    return loop.result(loop.final_value())


class _Loop:
    """Everything that changes from step to step."""

    def __init__(self, engine: Any, net: Any, objective: Any, settings: Settings) -> None:
        self._engine = engine
        self._net = net
        self._objective = objective
        self._settings = settings
        if objective.maximize is None:
            raise InputError(
                f"{objective} adds terms to be maximised to others to be minimised, so its sense is unclear; "
                f"say sf.objectives.maximize(...) or sf.objectives.minimize(...)."
            )
        _, channels, height, width = engine.shape
        self._stages = settings.stages((height, width))
        self._stage = self._stages[0]
        self._sign = -1.0 if objective.maximize else 1.0  # the descent goes down D = sign * value
        self._rngs = settings.generators()
        self._u = settings.first_image(channels, self._stage.view.canvas, self._rngs)
        self._in_coordinates()
        self._kept, self._mask = self._u, self._first_mask()
        self._moments: Any = None
        self._warm: StepState | None = None
        self._steps_without_gradient = 0
        self._snapshots: dict[int, Pixels] = {}
        self._snapshot_steps = settings.snapshot_steps()
        self._stopped_by: StoppedBy = "steps"
        self._notes: list[str] = list(getattr(engine, "notes", ()))
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self.records: list[Record] = []

    def steps(self) -> Iterator[StepInfo]:
        """Take all steps, one for each item asked for."""
        self._keep_snapshot()
        for stage in self._stages:
            self._enter(stage)
            for _ in range(stage.steps):
                yield self._step()

    def stop(self, by: StoppedBy, note: str) -> None:
        """Remember that the loop ended early, and why."""
        self._stopped_by = by
        self._notes.append(note)

    def final_value(self) -> Array:
        """The objective at the images reached, seen without jitter."""
        view = self._stage.view.still(len(self._u))
        values, _ = self._evaluate(view)
        return values

    def result(self, value: Array | None) -> Result:
        """What has been reached."""
        history = History(tuple(self.records), len(self._u))
        self._note_vanishing_steps(history)
        return Result(
            u=self._u,
            value=value,
            history=history,
            snapshots=self._snapshots,
            stopped_by=self._stopped_by,
            notes=tuple(self._notes),
            manifest=manifest.plain(self._manifest(history, value)),
            drawn=self._drawn(),
        )

    def _drawn(self) -> Pixels | None:
        """What the generator draws for the codes reached; None where images are images."""
        if not getattr(self._net, "latent", False):
            return None
        from .composition import pictures

        return as_pictures(pictures(self._net, self._u))

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

    def _enter(self, stage: Stage) -> None:
        """Enlarge the canvas to the stage's size; momentum and duals of another size are dropped."""
        self._scheme = _normalised_after(self._settings, stage)
        if stage.view.canvas != self._stage.view.canvas:
            resize = Resize(self._stage.view.canvas, stage.view.canvas)
            u = resize.apply(self._u)
            self._u = u.clip(0, 1) if self._settings.clip else u
            self._in_coordinates()
            if self._mask is not None:
                self._kept = resize.apply(self._kept)
                self._mask = resize.apply(self._mask[None, None])[0, 0].clip(0, 1)
            self._moments = self._warm = None
        self._stage = stage

    def _first_mask(self) -> Array | None:
        mask, canvas = self._settings.mask, self._stage.view.canvas
        if mask is not None and mask.shape != canvas:
            raise InputError(f"mask has the shape {mask.shape}, but the canvas is {canvas}.")
        return mask

    def _in_coordinates(self) -> None:
        """Take the images over as coordinates, and back, so that both agree: pixels are their own."""
        P = self._settings.parametrization
        self._z = self._u if P is None else P.start(self._u)
        self._u = self._u if P is None else P.image(self._z)

    def _step(self) -> StepInfo:
        stage, settings, P = self._stage, self._settings, self._settings.parametrization
        tau = stage.tau * self._factor()
        view = stage.view.draw(self._rngs)
        values, g = self._revived(view) if not self.records else self._evaluate(view)
        scale = mean_abs(g, stage.view.seen)
        moving = scale > 0
        self._check_alive(values, moving)

        if P is not None:
            g = P.adjoint(self._z, g)
        if settings.normalise == "before":
            g = unit_mean(g, stage.view.seen)
        direction, moments = settings.direction(g, self._moments)
        z, warm = self._scheme.step(self._z, direction, tau, self._warm)
        if self._mask is not None:
            z = self._kept + self._mask * (z - self._kept)
        if settings.clip and P is None:
            z = z.clip(0, 1)
        z[~moving] = self._z[~moving]
        u = z if P is None else P.image(z)

        record = self._record(values, scale, u, tau, warm)
        self._u, self._z, self._moments, self._warm = u, z, moments, warm
        self.records.append(record)
        self._keep_snapshot()
        return self._info(record)

    def _factor(self) -> float:
        factor = float(self._settings.factor(len(self.records), self._settings.total_steps))
        if not (np.isfinite(factor) and factor >= 0):
            raise InputError(
                f"The schedule gave {factor} at step {len(self.records)}; a factor on tau is finite and "
                "not negative."
            )
        return factor

    def _evaluate(self, view: Chain) -> tuple[Array, Array]:
        """Value of the objective, and gradient of D on the canvas, through `view`."""
        try:
            values, g = self._engine(np.ascontiguousarray(view.apply(self._u)))
        except GradientError as error:
            raise self._failed(f"Step {len(self.records) + 1}: {error}") from error
        return np.array(values), self._sign * view.adjoint(g)

    def _revived(self, view: Chain) -> tuple[Array, Array]:
        """As `_evaluate`, for the first step: images without gradient start anew from stronger noise.

        A start that the user gave is left alone.
        """
        values, g = self._evaluate(view)
        for noise in _NUDGES if self._settings.start_is_random else ():
            dead = self._dead(values, mean_abs(g) > 0)
            if not dead.any():
                break
            self._nudge(dead, noise)
            values, g = self._evaluate(view)
        dead = self._dead(values, mean_abs(g) > 0)
        if dead.any():
            tried = ", even with strong noise" if self._settings.start_is_random else ""
            raise self._failed(self._no_gradient(f"at the start for {_listed(dead)}{tried}"))
        return values, g

    def _nudge(self, dead: Array, noise: float) -> None:
        for i in np.flatnonzero(dead):
            self._u[i] = grey(self._rngs[i], self._u[i].shape, noise)
        self._in_coordinates()
        self._kept = self._u
        self._notes.append(
            f"The gradient was zero at the start for {_listed(dead)}; started from grey with noise "
            f"{255 * noise:.0f}/255 instead."
        )

    def _dead(self, values: Array, moving: Array) -> Array:
        """Images without gradient, except those that have reproduced their features to the last bit."""
        solved = np.zeros_like(moving) if self._objective.maximize else values <= 0
        return ~(moving | solved)

    def _check_alive(self, values: Array, moving: Array) -> None:
        """Give up after many steps in which no image of the batch has moved."""
        stuck = self._dead(values, moving)
        self._steps_without_gradient = self._steps_without_gradient + 1 if stuck.all() else 0
        if self._steps_without_gradient >= _PATIENCE:
            raise self._failed(self._no_gradient(f"for all images over the last {_PATIENCE} steps"))

    def _no_gradient(self, where: str) -> str:
        hint = self._net.preactivation_hint(self._objective)
        remedy = hint or "Try another start, a larger noise, or an objective in an earlier layer."
        return f"The gradient of {self._objective} is zero {where}. {remedy}"

    def _failed(self, message: str) -> DescentError:
        """The error to raise, with what had been reached attached."""
        if not self.records:
            return DescentError(message, None)
        self.stop("error", message)
        return DescentError(message, self.result(None))

    def _record(self, values: Array, scale: Array, u: Array, tau: float, warm: StepState | None) -> Record:
        return Record(
            value=values,
            mean_abs_gradient=scale,
            rms_step=np.sqrt(np.square(u - self._u, dtype=np.float64).mean(axis=(1, 2, 3))),
            tau=tau,
            octave=self._stage.octave,
            tv_gap=None if warm is None else warm.gap,
            tv_iterations=None if warm is None else warm.iterations,
        )

    def _keep_snapshot(self) -> None:
        if len(self.records) in self._snapshot_steps:
            drawn = self._drawn()
            self._snapshots[len(self.records)] = as_pictures(self._u) if drawn is None else drawn

    def _info(self, record: Record) -> StepInfo:
        u = self._u.view()
        u.flags.writeable = False
        return StepInfo(
            step=len(self.records),
            steps=self._settings.total_steps,
            octave=record.octave,
            tau=record.tau,
            value=record.value,
            mean_abs_gradient=record.mean_abs_gradient,
            u=u,
        )

    def _manifest(self, history: History, value: Array | None) -> dict[str, Any]:
        seconds = time.perf_counter() - self._clock
        return {
            "versions": manifest.versions(),
            "model": manifest.model_facts(self._net),
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
                "shape": list(self._u.shape),
                "notes": list(self._notes),
                "effective_weight": manifest.effective_weight(self._settings, history),
            },
            "timings": {
                "started": self._started.isoformat(timespec="seconds"),
                "seconds": round(seconds, 3),
                "seconds_per_step": round(seconds / max(1, len(history)), 5),
            },
        }


def _normalised_after(settings: Settings, stage: Stage) -> Scheme:
    """The scheme of a stage: with ``normalise="after"`` its K_f is followed by the normalisation."""
    if settings.normalise != "after":
        return settings.scheme
    return replace(settings.scheme, K_f=Normalised(settings.scheme.K_f, stage.view.seen))


def _hw(input_shape: Sequence[int]) -> tuple[int, int]:
    return int(input_shape[-2]), int(input_shape[-1])


def _listed(dead: Array) -> str:
    numbers = ", ".join(str(i) for i in np.flatnonzero(dead))
    return f"image {numbers}" if dead.sum() == 1 else f"images {numbers}"
