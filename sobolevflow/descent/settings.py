"""The parameters of a descent, checked before any work begins, and the plan they amount to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.random import Generator

from .. import checks
from ..arrays import Array, borrow_numbers, fingerprint, to_host
from ..capacity import check_fits
from ..devices import Device
from ..errors import InputError, UnknownNameError, did_you_mean
from ..filters import Identity
from ..optimizers import Optimizer, optimizer
from ..pictures import check_writable
from ..schemes import Scheme
from ..transforms import RandomView, Resize, Size
from .declaration import Settled
from .declaring import declared, declares
from .parametrization import Parametrization
from .plan import MOST_OCTAVES, Octave, Stage, octaves_in, octaves_of, scaled
from .start import NOISE, drawn


def constant(step: int, steps: int) -> float:
    """The factor 1 at every step."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Half a cosine, from 1 at step 0 down towards 0 at step `steps`: (1 + cos(pi step / steps)) / 2."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


_OF_A_NUMBER = 100  # bytes that a number takes in a set and a sequence

_SCHEDULES: dict[str, Callable[[int, int], float]] = {"constant": constant, "cosine": cosine}


@declares
class Settings(Settled):
    """Everything that determines a descent, apart from the network and the objective.

    The fields are the parameters of `visualize`, checked and written out: `steps` are those of all octaves, a
    number of octaves is a tuple of `Octave`, a number of snapshots the steps after which they are kept. What
    is left open is what `visualize` has beside a scheme.

    Raises
    ------
    InputError
        A value has the wrong type or range, or two values contradict each other.
    UnknownNameError
        The name of an optimizer, schedule or normalisation does not exist.
    OutputError
        `autosave` has an unknown ending, or its folder is absent or not writable.
    """

    # Derived from the parameters: what the loop calls.
    direction: Optimizer = field(init=False, repr=False)
    factor: Callable[[int, int], float] = field(init=False, repr=False)
    plan: tuple[Octave, ...] = field(init=False, repr=False)
    kept_after: tuple[int, ...] = field(init=False, repr=False)
    place: Device = field(init=False, repr=False)
    autosave_path: Path | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.scheme, Scheme):
            raise InputError(
                f"scheme must be a Scheme, such as sf.fluid(sf.filters.Sobolev(size=11)), got "
                f"{checks.shown(self.scheme)}."
            )
        if self.tau is None:
            raise InputError(
                "tau has no default when normalise is None: raw gradients carry the scale of the network. "
                "Give tau, in the unit of the image divided by that of the gradient."
            )
        if self.noise is None:
            self._set("noise", NOISE.get(self.start, NOISE["grey"]) if isinstance(self.start, str) else 0.0)
        for name, facts in declared(type(self)).items():
            if facts.check is not None:
                self._set(name, facts.check(getattr(self, name), name))
        self._check_parametrization()
        self._check_mask()
        self._check_start()
        self._set("canvas", self._checked_canvas())
        self._set("plan", self._octaves())
        if self.octaves is not None:
            self._set("octaves", self.plan)
            self._set("steps", sum(octave.steps for octave in self.plan))
        self._set("kept_after", self._kept_after())
        self._set("snapshots", self.kept_after)
        self._set("direction", optimizer(self.optimizer))
        self._set("optimizer", self.direction)
        self._set("factor", _factor(self.schedule))
        self._set("autosave_path", self._checked_autosave())
        self._set("place", Device.of(cast("str | Device", self.device)))
        self._set("device", self.place)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def stages(self, window: Size) -> list[Stage]:
        """The plan for a network that takes images of `window` = (H, W) pixels.

        Raises
        ------
        InputError
            The canvas is smaller than the network's input.
        """
        if not self.plan:
            return [Stage(0, self._view(self._canvas(window), window), self.steps, self.tau)]
        return [
            Stage(
                octave=k,
                view=self._view(scaled(window, octave.scale), window),
                steps=octave.steps,
                tau=self.tau if octave.tau is None else octave.tau,
            )
            for k, octave in enumerate(self.plan)
        ]

    def _view(self, canvas: Size, window: Size) -> RandomView:
        return RandomView(canvas, window, self.jitter, self.crops, self.rotate, self.zoom)

    def generators(self) -> list[Generator]:
        """One random generator for each image; the i-th is seeded with seed + i."""
        return [np.random.default_rng(self.seed + i) for i in range(self.batch)]

    @property
    def start_is_random(self) -> bool:
        """Whether the descent starts from noise rather than from images of the user's."""
        return not isinstance(self.start, np.ndarray)

    def first_image(self, channels: int, view: RandomView, rngs: Sequence[Generator]) -> Array:
        """The batch that the descent starts from, (N, C, H, W) float32, on the canvas of a view.

        Where that is coarser than what the network takes, a start of the network's size is reduced to it.

        Raises
        ------
        InputError
            `start` is an array of another shape.
        """
        shape = (channels, *view.canvas)
        whole = (self.batch, *shape)
        if isinstance(self.start, np.ndarray):
            start = on_canvas(self.start, view)
            if start.shape not in (shape, whole):
                raise InputError(
                    f"start has the shape {self.start.shape}, but this run needs {shape} or {whole}; "
                    f"sf.read_image(path, size={view.canvas}) gives such an array."
                )
            start = np.array(np.broadcast_to(start, whole), dtype=np.float32)
            return start.clip(0, 1) if self.clip else start
        return np.stack([drawn(self.start, rng, shape, self.noise) for rng in rngs])

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able data. A start image appears by its SHA-256, a function by its name."""
        settings = {name: (facts, getattr(self, name)) for name, facts in declared(type(self)).items()}
        return {name: _as_data(value) for name, (facts, value) in settings.items() if facts.is_written(value)}

    def _checked_autosave(self) -> Path | None:
        return None if self.autosave is None else check_writable(checks.path(self.autosave, "autosave"))

    def _check_parametrization(self) -> None:
        if self.parametrization is None:
            return
        if isinstance(self.parametrization, type) or not isinstance(self.parametrization, Parametrization):
            raise InputError(
                f"parametrization must be one such as sf.Fourier(), got {checks.shown(self.parametrization)}."
            )
        places = (self.scheme.K_f, self.scheme.K_e)
        if self.scheme.penalty is not None or any(not isinstance(K, Identity) for K in places):
            raise InputError(
                f"A filter or penalty is of pixels, and the descent is in the coordinates of "
                f"{self.parametrization}; leave the scheme out."
            )

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        mask = to_host(borrow_numbers(self.mask, "mask"))
        if mask.ndim != 2 or not (mask.dtype == bool or np.issubdtype(mask.dtype, np.floating)):
            raise InputError(
                f"mask is an array (H, W) of weights in [0, 1], or of booleans; got shape {mask.shape}, "
                f"type {mask.dtype}."
            )
        check_fits(4 * mask.size, f"a mask of shape {mask.shape}", "it is as large as the canvas")
        if not (
            mask.size and np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1 and mask.max() > 0
        ):
            raise InputError("mask holds weights from 0 to 1, not all of them 0.")
        if self.parametrization is not None:
            raise InputError("mask keeps pixels, but the descent is in other coordinates; leave one out.")
        self._set("mask", mask.astype(np.float32))

    def _check_start(self) -> None:
        if isinstance(self.start, str) and self.start in NOISE:
            return
        if not isinstance(self.start, str):
            self._set("start", to_host(borrow_numbers(self.start, "start")))
        if not isinstance(self.start, np.ndarray):
            raise InputError(
                "start is 'natural', 'grey', 'normal' or an array of images in [0, 1], got "
                f"{checks.shown(self.start)}."
            )
        if not np.issubdtype(self.start.dtype, np.floating):
            raise InputError(
                f"start must be floating point in [0, 1], not {self.start.dtype}; divide by 255."
            )
        if not self.start.size:
            raise InputError(f"start has the shape {self.start.shape}, and no pixels.")
        check_fits(
            4 * self.start.size, f"a start of shape {self.start.shape}", "it is as large as the canvas"
        )
        low, high = float(np.min(self.start, initial=0)), float(np.max(self.start, initial=0))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError("start holds values that are not finite.")
        if self.clip and not (low >= 0 and high <= 1):
            raise InputError(
                f"start must lie in [0, 1], got values from {low:g} to {high:g}; divide 8-bit pixels by 255."
            )

    def _checked_canvas(self) -> tuple[int, ...] | None:
        if self.canvas is None:
            return None
        sides = checks.entries(self.canvas, "canvas", "(height, width) in pixels")
        if len(sides) != 2:
            raise InputError(f"canvas is (height, width) in pixels, got {checks.shown(self.canvas)}.")
        if self.octaves is not None:
            raise InputError(
                "canvas and octaves exclude each other: the octaves' scales already say how large "
                "the canvas is. Leave one of them out."
            )
        return tuple(checks.count(length, "canvas") for length in sides)

    def _octaves(self) -> tuple[Octave, ...]:
        """The octaves written out; none where the canvas keeps its size."""
        octaves = checks.plain(self.octaves)
        if octaves is None:
            return ()
        if isinstance(octaves, int):
            return octaves_in(self.steps, checks.count(octaves, "octaves", most=MOST_OCTAVES), self.tau)
        wanted = "a number of them, or a sequence of scales such as [0.5, 1.0], or of sf.Octave"
        octaves = tuple(map(checks.plain, checks.entries(octaves, "octaves", wanted)))
        if len(octaves) > MOST_OCTAVES:
            checks.refuse(self.octaves, "octaves", f"at most {MOST_OCTAVES} of them")
        if octaves and all(map(checks.is_number, octaves)):
            return octaves_of(octaves, self.steps)
        if not octaves or not all(isinstance(octave, Octave) for octave in octaves):
            raise InputError(
                f"octaves is a number of them, or a sequence of scales such as [0.5, 1.0], or one such as "
                f"[sf.Octave(1.0, 100), sf.Octave(1.1, 50)], got {checks.shown(self.octaves)}."
            )
        return octaves

    def _kept_after(self) -> tuple[int, ...]:
        """The numbers of completed steps after which to keep a copy; 0 is the start."""
        snapshots, steps = checks.plain(self.snapshots), self.steps
        if isinstance(snapshots, int):
            count = min(checks.count(snapshots, "snapshots", least=0), steps)
            check_fits(_OF_A_NUMBER * count, f"a list of {count} snapshots", "keep fewer")
            return tuple(sorted({round(steps * (k + 1) / count) for k in range(count)}))
        wanted = list(
            map(
                checks.plain, checks.entries(snapshots, "snapshots", "a number or a list of numbers of steps")
            )
        )
        strange = [n for n in wanted if not (checks.is_integer(n) and 0 <= n <= steps)]
        if strange:
            raise InputError(
                f"snapshots are numbers of steps from 0 to {steps}, not {checks.shown(strange[0])}."
            )
        return tuple(sorted(set(wanted)))

    def _canvas(self, window: Size) -> Size:
        if self.canvas is None:
            return window
        height, width = self.canvas
        if height < window[0] or width < window[1]:
            raise InputError(
                f"The canvas of {height}x{width} pixels is smaller than the network's input of "
                f"{window[0]}x{window[1]}; the network sees crops of the canvas, so make it at least as "
                "large."
            )
        return height, width


def on_canvas(array: Array, view: RandomView) -> Array:
    """An array (..., H, W) of the size that the network takes, reduced to a coarser canvas; else as it is."""
    if view.enlargement is None or array.shape[-2:] != view.window:
        return array
    return Resize(view.window, view.canvas).apply(array.astype(np.float32))


def _factor(schedule: str | Callable[[int, int], float]) -> Callable[[int, int], float]:
    if callable(schedule):
        return schedule
    if not isinstance(schedule, str) or schedule not in _SCHEDULES:
        near = did_you_mean(schedule, _SCHEDULES) if isinstance(schedule, str) else ""
        raise UnknownNameError(
            f"There is no schedule {checks.shown(schedule)}; use 'constant', 'cosine' or a function (step, "
            f"steps) -> factor.{near}"
        )
    return _SCHEDULES[schedule]


def _as_data(value: Any) -> Any:
    """A setting for the manifest."""
    if isinstance(value, np.ndarray):
        return fingerprint(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_as_data(each) for each in value]
    if callable(value):
        return getattr(value, "__qualname__", None) or type(value).__qualname__
    return value
