"""What has to be written down so that a picture can be explained, and made again."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, cast

import numpy as np

from .._version import __version__
from ..text import as_json

StoppedBy = Literal["steps", "seconds", "patience", "interrupt", "callback", "error"]

FORMAT = 2
"""What a manifest holds: raised when one of before could not be understood. The first had no number."""

_LIBRARIES = ("numpy", "scipy", "numba", "onnx", "onnxruntime", "cupy")


@dataclass(frozen=True)
class Outcome:
    """How a descent ended.

    Parameters
    ----------
    stopped_by : {"steps", "seconds", "patience", "interrupt", "callback", "error"}
        "steps" where all of them were taken.
    steps : int
        Steps taken.
    value : list of float, or None
        The objective at the end, image by image; None after an error.
    shape : list of int
        (N, C, H, W) of the images.
    notes : list of str
    effective_weight : dict or None
        The variational problem that the descent approached, where there is one.
    steps_of_octaves : list of int
        Steps taken in each octave that was begun.
    sha256 : str or None
        Of the images, float32.
    """

    stopped_by: StoppedBy
    steps: int
    value: list[float] | None
    shape: list[int]
    notes: list[str]
    effective_weight: dict[str, Any] | None
    steps_of_octaves: list[int] = field(default_factory=list)
    sha256: str | None = None


@dataclass(frozen=True)
class Timings:
    """When a descent began (ISO 8601), and how long it took, in seconds."""

    started: str
    seconds: float
    seconds_per_step: float
    images_at_once: int


@dataclass(frozen=True)
class Manifest:
    """The record of a descent.

    Parameters
    ----------
    versions, model, objective, parameters : dict
        Of the libraries; `model_facts` of the network; the objective with its outputs in the network; every
        parameter of the descent.
    outcome : Outcome
    timings : Timings
    format : int
        `FORMAT` when it was written.
    source : dict or None
        How the network was opened; None of one that `load` has not opened.
    environment : dict or None
        `environment` of the process.
    not_repeatable : list of str
        What of the run is not told by the manifest, as a function of the caller's.
    asked : dict or None
        The words of the command line, and the files named by them, each with its SHA-256.
    written : dict or None
        The files that were written beside the manifest.
    """

    versions: dict[str, str]
    model: dict[str, Any]
    objective: dict[str, Any]
    parameters: dict[str, Any]
    outcome: Outcome
    timings: Timings
    format: int = 1
    source: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    not_repeatable: list[str] = field(default_factory=list)
    asked: dict[str, Any] | None = None
    written: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as it is written."""
        return plain(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Manifest:
        """The record that was written."""
        outcome, timings = Outcome(**data["outcome"]), Timings(**data["timings"])
        return cls(**{**data, "outcome": outcome, "timings": timings})

    @classmethod
    def merge(cls, parts: Sequence[Manifest], parameters: dict[str, Any]) -> Manifest:
        """The record of a batch whose parts were descended to apart, from those of the parts.

        What was stopped before its last step was so by the first part that says it, and the history ends with
        the shortest. `parameters` are those of the whole.
        """
        first, outcomes = parts[0], [part.outcome for part in parts]
        values = [each.value for each in outcomes if each.value is not None]
        outputs = [part.objective["indices"] for part in parts]
        return replace(
            first,
            objective={
                **first.objective,
                "indices": {name: [k for each in outputs for k in each[name]] for name in outputs[0]},
            },
            parameters=parameters,
            outcome=replace(
                first.outcome,
                stopped_by=next((o.stopped_by for o in outcomes if o.stopped_by != "steps"), "steps"),
                steps=min(each.steps for each in outcomes),
                value=[v for each in values for v in each] if len(values) == len(parts) else None,
                shape=[sum(each.shape[0] for each in outcomes), *first.outcome.shape[1:]],
                notes=list(dict.fromkeys(note for each in outcomes for note in each.notes)),
                steps_of_octaves=min((each.steps_of_octaves for each in outcomes), key=sum),
                sha256=None,
            ),
            timings=replace(first.timings, seconds=max(part.timings.seconds for part in parts)),
        )


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that this process has loaded."""
    loaded = {name: sys.modules[name].__version__ for name in _LIBRARIES if name in sys.modules}
    return {"sobolevflow": __version__, "python": platform.python_version(), **loaded}


def environment() -> dict[str, Any]:
    """What decides beside versions which kernels compute, and how work is shared among them."""
    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": sorted({*simd.get("baseline", ()), *simd.get("found", ())}),
        "cores": _cores(),
    }


def _cores() -> int | None:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


class Identified(Protocol):
    """What `model_facts` asks of a network."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def sha256(self) -> str:
        """Of its file."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        ...

    @property
    def preprocess(self) -> Any:
        """Has ``to_dict``."""
        ...


def model_facts(net: Identified) -> dict[str, Any]:
    """Which network it was, down to the bytes of its file."""
    return {
        "name": net.name,
        "sha256": net.sha256,
        "input_shape": [int(n) for n in net.input_shape],
        "preprocess": net.preprocess.to_dict(),
    }


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """The data as JSON gives it back: tuples become lists, so that what is read equals what was written."""
    return cast(dict[str, Any], json.loads(json.dumps(data, allow_nan=False)))


def as_text(manifest: dict[str, Any]) -> str:
    """The manifest as JSON."""
    return as_json(manifest, indent=2, allow_nan=False) + "\n"
