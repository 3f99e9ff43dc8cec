"""What is written down of a descent: measurements as they arrive, pictures on the way, and the result."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from ..arrays import Array, fingerprint, to_host
from ..devices import Later
from ..filters import Identity
from ..pictures import Pixels
from ..results import (
    FORMAT,
    History,
    Identified,
    Manifest,
    Outcome,
    Record,
    Result,
    StoppedBy,
    Timings,
    as_pictures,
    environment,
    model_facts,
    versions,
)
from .divergence import divergence
from .provenance import arrays, not_told
from .settings import Settings
from .step import MEAN_ABS_GRADIENT, RMS_STEP, VALUE

if TYPE_CHECKING:
    from ..gradient import ValueAndGradient
    from ..network import Network

# Steps that a GPU may be behind the host before the host waits.
_BEHIND = 32

# An elastic scheme whose tau ends below this part of its largest value has smoothed its picture away.
_FADED = 0.1


class Subject(Identified, Protocol):
    """What a descent asks of a network beside its gradient; `Network` is one."""

    @property
    def latent(self) -> bool:
        """Whether its image is the code of a generator, which draws the pictures."""
        ...

    def preactivation_hint(self, objective: Any, /) -> str | None:
        """What to ask for instead of an objective without gradient."""
        ...


class Aim(Protocol):
    """What a descent asks of an objective beside its gradient; `Objective` is one."""

    @property
    def maximize(self) -> bool | None:
        """Its sense; None where its terms have both."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        ...


@dataclass(frozen=True)
class Taken:
    """A step whose measurements may still be underway; gap and iterations are those of an iterative K_e."""

    measured: Later
    tau: float
    octave: int
    tv_gap: float | None
    tv_iterations: int | None

    def record(self) -> Record:
        """The measurements; waits for them."""
        measured = self.measured.get()
        return Record(
            value=measured[VALUE],
            mean_abs_gradient=measured[MEAN_ABS_GRADIENT],
            rms_step=measured[RMS_STEP],
            tau=self.tau,
            octave=self.octave,
            tv_gap=self.tv_gap,
            tv_iterations=self.tv_iterations,
        )


class Log:
    """What is written down, and what it amounts to in the end.

    Parameters
    ----------
    engine, net, objective, settings
        As for `descend`.
    part : bool
        Whether it is a part of a batch, which is judged as a whole.

    Attributes
    ----------
    records : list of Record
        Of the steps whose measurements have arrived and been looked at.
    notes : list of str
        What a reader of the result should know.
    """

    def __init__(
        self,
        engine: ValueAndGradient,
        net: Subject,
        objective: Aim,
        settings: Settings,
        part: bool = False,
    ) -> None:
        self._part = part
        self._engine, self._net, self._objective, self._settings = engine, net, objective, settings
        self._started, self._clock = datetime.now(UTC), time.perf_counter()
        self._underway: deque[Taken] = deque()
        self._snapshots: dict[int, Pixels] = {}
        self._stopped_by: StoppedBy = "steps"
        self.records: list[Record] = []
        self.notes: list[str] = []

    @property
    def latest_value(self) -> float:
        """The mean value of the last step that is known on the host."""
        return float(np.mean(self.records[-1].value)) if self.records else float("nan")

    def expect(self, taken: Taken) -> None:
        """Tell of a step that has been taken."""
        self._underway.append(taken)

    def arrived(self, all_of_them: bool = False) -> Iterator[Record]:
        """The measurements that have arrived; those of long ago, or all of them, are waited for."""
        while self._underway:
            if not (all_of_them or len(self._underway) > _BEHIND or self._underway[0].measured.there):
                return
            yield self._underway.popleft().record()

    def keep_snapshot(self, step: int, u: Array) -> None:
        """Keep the images as they are after so many steps, if that was asked for."""
        if step in self._settings.kept_after:
            self._snapshots[step] = self.drawn(to_host(u))

    def stop(self, by: StoppedBy, note: str) -> None:
        """Remember that the descent ended early, and why."""
        self._stopped_by = by
        self.notes.append(note)

    def drawn(self, u: Array) -> Pixels:
        """Images as pictures, or what the generator draws for codes."""
        if not self._net.latent:
            return as_pictures(u)
        from ..network import pictures

        return as_pictures(pictures(cast("Network", self._net), u))

    def result(self, u: Array, value: Array | None, notes: Sequence[str] = ()) -> Result:
        """What has been reached: images (N, C, H, W) of the host, and the objective there if it is known.

        `notes` are more of them, as they are now.
        """
        history = History(tuple(self.records), len(u))
        if self._faded(history):
            self.notes.append(
                "tau fell to nearly nothing while the elastic K_e smoothed as strongly at every step, which "
                "blurs the picture; keep tau constant with an elastic scheme, or use a fluid one."
            )
        if not self._part:
            maximize, latent = bool(self._objective.maximize), self._net.latent
            self.notes += divergence(history, u, self._settings, maximize=maximize, latent=latent)
        manifest = self._manifest(u, history, value, [*self._engine.notes, *self.notes, *notes])
        return Result(
            u=u,
            value=value,
            history=history,
            snapshots=self._snapshots,
            stopped_by=self._stopped_by,
            notes=tuple(manifest.outcome.notes),
            manifest=manifest.to_dict(),
            drawn=self.drawn(u) if self._net.latent else None,
            arrays=arrays(self._net, self._objective, self._settings),
        )

    def _faded(self, history: History) -> bool:
        """K_e smooths as strongly at a small tau as at a large one, so in the end it wins."""
        elastic = not isinstance(self._settings.scheme.K_e, Identity)
        if not elastic or self._settings.plan or len(history) < 2:
            return False
        return bool(history.tau[-1] < _FADED * history.tau.max())

    def _manifest(self, u: Array, history: History, value: Array | None, notes: Sequence[str]) -> Manifest:
        seconds, source = time.perf_counter() - self._clock, getattr(self._net, "source", None)
        return Manifest(
            versions=versions(),
            model=model_facts(self._net),
            objective={
                "label": str(self._objective),
                "maximize": bool(self._objective.maximize),
                **self._objective.to_dict(),
                "indices": dict(self._engine.indices),
            },
            parameters=self._settings.to_dict(),
            outcome=Outcome(
                stopped_by=self._stopped_by,
                steps=len(history),
                value=None if value is None else [float(v) for v in value],
                shape=list(u.shape),
                notes=list(dict.fromkeys(notes)),
                effective_weight=effective_weight(self._settings, history),
                steps_of_octaves=np.bincount(history.octave).tolist() if len(history) else [],
                sha256=fingerprint(u)["sha256"],
            ),
            timings=Timings(
                started=self._started.isoformat(timespec="seconds"),
                seconds=round(seconds, 3),
                seconds_per_step=round(seconds / max(1, len(history)), 5),
                images_at_once=self._engine.at_once,
            ),
            format=FORMAT,
            source=None if source is None else source.to_dict(),
            environment=environment(),
            not_repeatable=not_told(self._objective, self._settings),
        )


def effective_weight(settings: Settings, history: History) -> dict[str, Any] | None:
    """The variational problem that the descent approached, judged by its last step; None where it has none.

    With normalised gradients the weight is multiplied by their mean absolute value, averaged over the batch
    and the last tenth of the steps. Momentum multiplies the gradient by 1 / (1 - decay). There is no such
    problem behind Adam, behind gradients normalised after K_f, or behind random crops, which reach a pixel
    only now and then.
    """
    inverse_gain = getattr(settings.direction, "inverse_gain", None)
    if inverse_gain is None or settings.normalise == "after":
        return None
    if not len(history) or settings.canvas is not None or settings.octaves is not None:
        return None
    last = history.mean_abs_gradient[-max(1, len(history) // 10) :]
    scale = 1.0 if settings.normalise is None else float(np.mean(last))
    problem = settings.scheme.effective_weight(float(history.tau[-1]), scale * inverse_gain)
    if problem is None:
        return None
    return {
        "weight": problem.weight,
        "regulariser": problem.regulariser,
        "meaning": "fixed points at the last tau minimise D(u) + weight * sum(regulariser), where "
        "nothing is clipped",
    }
