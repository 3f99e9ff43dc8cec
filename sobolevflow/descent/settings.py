"""The parameters of a descent, checked before any work begins, and the plan they amount to."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.random import Generator

from .. import checks
from ..arrays import Array, fingerprint
from ..devices import Device
from ..errors import InputError, UnknownNameError, did_you_mean
from ..filters import Identity
from ..optimizers import Optimizer, optimizer
from ..pictures import check_writable
from ..results import History
from ..schemes import Scheme
from ..transforms import Distribution, RandomView, Size
from .parametrization import Parametrization
from .plan import Octave, Stage, _at_least_one, _scaled, grey

Schedule = Literal["constant", "cosine"] | Callable[[int, int], float]

Normalisation = Literal["before", "after"] | None

GREY_LEVEL = 1 / 255

DEFAULT_TAU, INVERSION_TAU = 5 * GREY_LEVEL, 4 * GREY_LEVEL


def constant(step: int, steps: int) -> float:
    """The factor 1 at every step."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Half a cosine, from 1 at step 0 down towards 0 at step `steps`: (1 + cos(pi step / steps)) / 2."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


_SCHEDULES: dict[str, Callable[[int, int], float]] = {"constant": constant, "cosine": cosine}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that determines a descent, apart from the network and the objective.

    The fields are the parameters of `visualize`, which explains them. Construction checks every one.

    Raises
    ------
    InputError
        A value has the wrong type or range, or two values contradict each other.
    UnknownNameError
        The name of an optimizer, schedule or normalisation does not exist.
    OutputError
        `autosave` has an unknown ending, or its folder is absent or not writable.
    """

    scheme: Scheme
    steps: int = 160
    tau: float | None = None
    schedule: Schedule = "constant"
    optimizer: str | Optimizer = "descent"
    normalise: Normalisation = "before"
    canvas: Sequence[int] | None = None
    batch: int = 1
    octaves: int | Sequence[Octave] | None = None
    jitter: int = 2
    crops: Distribution = "uniform"
    rotate: float = 0.0
    zoom: float = 0.0
    seed: int = 0
    start: str | Array | None = None
    noise: float = 8 / 255
    device: str | Device = "cpu"
    snapshots: int | Sequence[int] = 0
    clip: bool = True
    parametrization: Parametrization | None = None
    mask: Array | None = None
    autosave: str | os.PathLike[str] | None = None

    # Derived from the above: what the loop calls.
    direction: Optimizer = field(init=False, repr=False)
    factor: Callable[[int, int], float] = field(init=False, repr=False)
    autosave_path: Path | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, Scheme):
            raise InputError(
                f"scheme must be a Scheme, such as sf.fluid(sf.filters.Sobolev(size=11)), got "
                f"{self.scheme!r}."
            )
        self._take_numpy_scalars()
        checks.count(self.steps, "steps")
        checks.count(self.batch, "batch")
        checks.count(self.jitter, "jitter", least=0)
        checks.count(self.seed, "seed", least=0)
        if self.crops not in ("uniform", "normal"):
            raise UnknownNameError(f"crops is 'uniform' or 'normal', not {self.crops!r}.")
        for name in ("rotate", "zoom"):
            object.__setattr__(self, name, checks.nonnegative(getattr(self, name), name))
        if self.normalise not in ("before", "after", None):
            raise UnknownNameError(f"normalise is 'before', 'after' or None, not {self.normalise!r}.")
        self._check_parametrization()
        self._check_mask()
        if not isinstance(self.clip, bool):
            raise InputError(f"clip is True or False, not {self.clip!r}.")
        if not (checks.is_number(self.noise) and self.noise >= 0):
            raise InputError(f"noise is a standard deviation in the unit of the image, not {self.noise!r}.")
        object.__setattr__(self, "tau", self._checked_tau())
        object.__setattr__(self, "direction", optimizer(self.optimizer))
        object.__setattr__(self, "factor", _factor(self.schedule))
        path = None if self.autosave is None else check_writable(self.autosave)
        object.__setattr__(self, "autosave_path", path)
        object.__setattr__(self, "device", Device.of(self.device))
        self._check_start()
        self._check_sizes()
        self.snapshot_steps()

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, over all octaves."""
        if self.octaves is None or isinstance(self.octaves, int):
            return self.steps
        return sum(octave.steps for octave in self.octaves)

    def stages(self, window: Size) -> list[Stage]:
        """The plan for a network that takes images of `window` = (H, W) pixels.

        Raises
        ------
        InputError
            The canvas is smaller than the network's input.
        """
        assert self.tau is not None  # __post_init__ has seen to it
        if self.octaves is None:
            return [Stage(0, self._view(self._canvas(window), window), self.steps, self.tau)]
        return [
            Stage(
                octave=k,
                view=self._view(_scaled(window, octave.scale), window),
                steps=octave.steps,
                tau=self.tau if octave.tau is None else octave.tau,
            )
            for k, octave in enumerate(self._octaves())
        ]

    def _view(self, canvas: Size, window: Size) -> RandomView:
        return RandomView(canvas, window, self.jitter, self.crops, self.rotate, self.zoom)

    def generators(self) -> list[Generator]:
        """One random generator for each image; the i-th is seeded with seed + i."""
        return [np.random.default_rng(self.seed + i) for i in range(self.batch)]

    @property
    def start_is_random(self) -> bool:
        """Whether the descent starts from grey and noise rather than from images of the user's."""
        return not isinstance(self.start, np.ndarray)

    def first_image(self, channels: int, canvas: Size, rngs: Sequence[Generator]) -> Array:
        """The batch that the descent starts from, (N, C, H, W) float32.

        Raises
        ------
        InputError
            `start` is an array of another shape.
        """
        shape = (channels, *canvas)
        whole = (self.batch, *shape)
        if isinstance(self.start, np.ndarray):
            if self.start.shape not in (shape, whole):
                raise InputError(
                    f"start has the shape {self.start.shape}, but this run needs {shape} or {whole}; "
                    f"sf.read_image(path, size={canvas}) gives such an array."
                )
            return np.array(np.broadcast_to(self.start, whole), dtype=np.float32)
        if self.start == "normal":
            return np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
        return np.stack([grey(rng, shape, self.noise) for rng in rngs])

    def snapshot_steps(self) -> frozenset[int]:
        """The numbers of completed steps at which to keep a copy; 0 is the start."""
        total = self.total_steps
        if isinstance(self.snapshots, int):
            checks.count(self.snapshots, "snapshots", least=0)
            count = min(self.snapshots, total)
            return frozenset(round(total * (k + 1) / count) for k in range(count))
        if not isinstance(self.snapshots, Iterable):
            raise InputError(f"snapshots is a number or a list of numbers of steps, not {self.snapshots!r}.")
        wanted = frozenset(checks.plain(n) for n in self.snapshots)
        strange = [n for n in wanted if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= total]
        if strange:
            raise InputError(f"snapshots are numbers of steps from 0 to {total}, not {strange[0]!r}.")
        return wanted

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON-able data. A start image appears by its SHA-256, a function by its name."""
        return {
            "scheme": self.scheme.to_dict(),
            "steps": self.total_steps,
            "tau": self.tau,
            "schedule": self.schedule if isinstance(self.schedule, str) else _function_name(self.schedule),
            "optimizer": self.direction.to_dict(),
            "normalise": self.normalise,
            "canvas": None if self.canvas is None else [int(n) for n in self.canvas],
            "batch": self.batch,
            "octaves": None
            if self.octaves is None
            else [{"scale": o.scale, "steps": o.steps, "tau": o.tau} for o in self._octaves()],
            "jitter": self.jitter,
            "crops": self.crops,
            "rotate": self.rotate,
            "zoom": self.zoom,
            "seed": self.seed,
            "start": self._start_to_dict(),
            "noise": float(self.noise),
            "device": Device.of(self.device).to_dict(),
            "snapshots": sorted(self.snapshot_steps()),
            "clip": self.clip,
            **({} if self.parametrization is None else {"parametrization": self.parametrization.to_dict()}),
            **({} if self.mask is None else {"mask": fingerprint(self.mask)}),
        }

    def _check_parametrization(self) -> None:
        if self.parametrization is None:
            return
        if not isinstance(self.parametrization, Parametrization):
            raise InputError(
                f"parametrization must be one such as sf.Fourier(), got {self.parametrization!r}."
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
        mask = np.asarray(self.mask)
        if mask.ndim != 2 or not (mask.dtype == bool or np.issubdtype(mask.dtype, np.floating)):
            raise InputError(
                f"mask is an array (H, W) of weights in [0, 1], or of booleans; got shape {mask.shape}, "
                f"type {mask.dtype}."
            )
        if not (np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1 and mask.max() > 0):
            raise InputError("mask holds weights from 0 to 1, not all of them 0.")
        if self.parametrization is not None:
            raise InputError("mask keeps pixels, but the descent is in other coordinates; leave one out.")
        object.__setattr__(self, "mask", mask.astype(np.float32))

    def _take_numpy_scalars(self) -> None:
        """NumPy's numbers are as good as Python's, but no JSON for the manifest."""
        for name in ("steps", "batch", "octaves", "jitter", "seed", "snapshots", "clip"):
            object.__setattr__(self, name, checks.plain(getattr(self, name)))

    def _checked_tau(self) -> float:
        if self.tau is not None:
            return checks.positive(self.tau, "tau")
        if self.normalise is None:
            raise InputError(
                "tau has no default when normalise is None: raw gradients carry the scale of the network. "
                "Give tau, in the unit of the image divided by that of the gradient."
            )
        return DEFAULT_TAU

    def _check_start(self) -> None:
        if self.start is None or (isinstance(self.start, str) and self.start in ("grey", "normal")):
            return
        if not isinstance(self.start, np.ndarray):
            raise InputError(
                f"start is 'grey', 'normal' or an array of images in [0, 1], got {self.start!r}."
            )
        if not np.issubdtype(self.start.dtype, np.floating):
            raise InputError(
                f"start must be floating point in [0, 1], not {self.start.dtype}; divide by 255."
            )
        low, high = float(np.min(self.start, initial=0)), float(np.max(self.start, initial=0))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError("start holds values that are not finite.")
        if self.clip and not (low >= 0 and high <= 1):
            raise InputError(
                f"start must lie in [0, 1], got values from {low:g} to {high:g}; divide 8-bit pixels by 255."
            )

    def _check_sizes(self) -> None:
        if self.canvas is not None:
            if not isinstance(self.canvas, (Sequence, np.ndarray)) or len(self.canvas) != 2:
                raise InputError(f"canvas is (height, width) in pixels, got {self.canvas!r}.")
            for length in self.canvas:
                checks.count(length, "canvas")
            if self.octaves is not None:
                raise InputError(
                    "canvas and octaves exclude each other: the octaves' scales already say how large "
                    "the canvas is. Leave one of them out."
                )
        self._octaves()

    def _octaves(self) -> list[Octave]:
        """The octaves written out; a number n stands for the scales 1.0, 1.1, 1.2, ...

        Each octave has about half the steps and half the tau of the one before it, as in the paper's Figure 2
        (100, 50 and 10 steps with tau 5, 2 and 1).
        """
        if self.octaves is None:
            return []
        if not isinstance(self.octaves, int):
            octaves = list(self.octaves) if isinstance(self.octaves, Iterable) else []
            if not octaves or not all(isinstance(octave, Octave) for octave in octaves):
                raise InputError(
                    f"octaves is a number, or a sequence such as [sf.Octave(1.0, 100), "
                    f"sf.Octave(1.1, 50)], got {self.octaves!r}."
                )
            return octaves
        n = checks.count(self.octaves, "octaves")
        if n > self.steps:
            raise InputError(f"{n} octaves cannot share {self.steps} steps; ask for more steps.")
        assert self.tau is not None
        ends = [round(self.steps * (1 - 0.5 ** (k + 1)) / (1 - 0.5**n)) for k in range(n)]
        lengths = _at_least_one(np.diff(ends, prepend=0).tolist())
        return [Octave(1 + 0.1 * k, lengths[k], self.tau * 0.5**k) for k in range(n)]

    def _canvas(self, window: Size) -> Size:
        if self.canvas is None:
            return window
        height, width = (int(n) for n in self.canvas)
        if height < window[0] or width < window[1]:
            raise InputError(
                f"The canvas of {height}x{width} pixels is smaller than the network's input of "
                f"{window[0]}x{window[1]}; the network sees crops of the canvas, so make it at least as "
                "large."
            )
        return height, width

    def _start_to_dict(self) -> str | dict[str, Any]:
        if not isinstance(self.start, np.ndarray):
            return self.start or "grey"
        return fingerprint(self.start)


def _factor(schedule: Schedule) -> Callable[[int, int], float]:
    if callable(schedule):
        return schedule
    if schedule not in _SCHEDULES:
        raise UnknownNameError(
            f"There is no schedule {schedule!r}; use 'constant', 'cosine' or a function (step, steps) -> "
            f"factor.{did_you_mean(str(schedule), _SCHEDULES)}"
        )
    return _SCHEDULES[schedule]


def _function_name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def effective_weight(settings: Settings, history: History) -> dict[str, Any] | None:
    """The variational problem that the descent approached, judged by its last step; None where it has none.

    With normalised gradients the weight is multiplied by their mean absolute value, averaged over the batch
    and the last tenth of the steps. Momentum multiplies the gradient by 1 / (1 - decay). There is no such
    problem behind Adam, behind gradients normalised after K_f, or behind random crops, which reach a pixel
    only now and then.
    """
    optimizer = settings.direction.to_dict()
    if optimizer["name"] not in ("descent", "momentum") or settings.normalise == "after":
        return None
    if not len(history) or settings.canvas is not None or settings.octaves is not None:
        return None
    last = history.mean_abs_gradient[-max(1, len(history) // 10) :]
    scale = 1.0 if settings.normalise is None else float(np.mean(last))
    scale *= 1 - optimizer.get("decay", 0.0)
    found = settings.scheme.effective_weight(float(history.tau[-1]), scale)
    if found is None:
        return None
    return {
        "weight": found.weight,
        "regulariser": found.regulariser,
        "meaning": "fixed points at the last tau minimise D(u) + weight * sum(regulariser), where "
        "nothing is clipped",
    }
