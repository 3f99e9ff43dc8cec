"""A run made again, from its manifest alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import checks
from ..devices import Device, devices_of
from ..errors import InputError, InputFileError
from ..results import Manifest, Result, Saved, environment, versions
from ..schemes import Scheme
from .budget import Cut
from .declaring import declared
from .descent import descend
from .plan import Octave
from .provenance import made
from .settings import Settings
from .several import spread

if TYPE_CHECKING:
    from ..network import Network
    from ..objectives import Objective
    from ..onnxgrad import Limits

_BEFORE = (
    "the manifest was written before sobolevflow recorded threads and processor, and how the network was "
    "opened: the bytes may differ"
)


def rerun(
    manifest: str | os.PathLike[str] | Mapping[str, Any],
    *,
    model: Any = None,
    any_model: bool = False,
    device: str | Device | Sequence[str | Device] | None = None,
    threads: int | None = None,
    limits: Limits | None = None,
    isolate: bool = False,
    progress: bool = True,
) -> Result:
    """Make a run of `visualize` or `invert` again, from its manifest.

    Parameters
    ----------
    manifest : path or mapping
        What ``result.save("crab.png")`` wrote beside the picture, ``crab.manifest.json``, or what that holds.
        Arrays that the run was given, as photographs to be inverted, are read from ``crab.arrays.npz`` there.
    model : path, bytes, onnx.ModelProto or module, optional
        The network, where it is not at the path that the manifest has.
    any_model : bool
        Whether a network of another content will do; else it is refused.
    device : str, Device or sequence of them, optional
        Instead of that of the run.
    threads : int, optional
        Of onnxruntime, instead of those of the run.
    limits, isolate
        As of `load`.
    progress : bool
        Show a progress bar where the standard error is a terminal.

    Returns
    -------
    Result
        The notes say what differs from where the run was made: versions, processor, threads. A run that a
        budget, Ctrl-C or a callback had stopped is stopped after as many steps. ``result.compare(manifest)``
        tells whether the bytes are the same.

    Raises
    ------
    InputFileError
        The manifest, the network's file or the arrays cannot be read, are none, or are missing.
    InputError
        The network is another one, or a part of the run is no more than named in the manifest, as a function
        of the caller's.
    SobolevflowError
        As `load` and `visualize` raise.

    Examples
    --------
    >>> again = sf.rerun("crab.manifest.json")  # doctest: +SKIP
    >>> again.compare("crab.manifest.json").identical  # doctest: +SKIP
    True
    """
    any_model, progress = checks.flag(any_model, "any_model"), checks.flag(progress, "progress")
    saved = Saved.read(manifest)
    record = saved.manifest
    _check_told(saved, model)
    opening = {"model": model, "threads": threads, "limits": limits, "isolate": isolate}
    net = _network(saved, opening)
    _check_network(saved, net, any_model)
    chosen = record.parameters.get("device", "cpu") if device is None else device
    try:
        objective, settings, devices = _objective(saved), _settings(saved), devices_of(_devices(chosen))
        cut = _cut(record, settings)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        # a manifest may hold anything
        raise InputFileError(f"{saved.name}: the run cannot be made from it ({error!r})") from None
    settings.stages(net.input_shape[1:])
    result = _run(net, objective, settings, devices, cut, progress)
    return _with_notes(result, [*_differences(record, net), *_in_parts(record, result)])


def _check_told(saved: Saved, model: Any) -> None:
    """InputError where a part of the run is no more than named."""
    record = saved.manifest
    if record.not_repeatable:
        parts = ", ".join(str(part) for part in record.not_repeatable)
        raise InputError(
            f"{saved.name}: the {parts} of the run cannot be made from the manifest, which has the name of a "
            "function alone; call sf.visualize with it"
        )
    if record.source is None and model is None:
        raise InputError(
            f"{saved.name}: it does not say where the network was opened from; give it as model= (--model)"
        )


def _network(saved: Saved, opening: Mapping[str, Any]) -> Network:
    from ..network import reopened

    record = saved.manifest
    source = record.source or {
        "preprocess": record.model.get("preprocess"),
        "input_shape": record.model.get("input_shape"),
    }
    try:
        return reopened(source, saved.array, beside=saved.folder, **opening)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputFileError(f"{saved.name}: does not say how the network is opened ({error!r})") from None


def _check_network(saved: Saved, net: Network, any_model: bool) -> None:
    from ..network import check_same

    if not any_model:
        name, recorded = saved.manifest.model.get("name"), str(saved.manifest.model.get("sha256"))
        remedy = f"{saved.name}: the network {name!r} (say any_model=True, --any-model, where that is meant)"
        check_same(remedy, recorded, net.sha256)


def _objective(saved: Saved) -> Objective:
    from ..objectives import from_dict

    return from_dict(saved.manifest.objective, saved.array)


def _settings(saved: Saved) -> Settings:
    """The settings that `Settings.to_dict` wrote."""
    known = declared(Settings)
    given = {name: value for name, value in saved.manifest.parameters.items() if name in known}
    given["scheme"] = Scheme.from_dict(given["scheme"])
    given["optimizer"] = made("optimizer", given["optimizer"])
    if given.get("parametrization") is not None:
        given["parametrization"] = made("parametrization", given["parametrization"])
    if given.get("octaves") is not None:
        given["octaves"] = [Octave(**each) for each in given["octaves"]]
    for name in ("start", "mask"):
        if isinstance(given.get(name), Mapping):
            given[name] = saved.array(name, given[name])
    return Settings(**{**given, "device": "cpu"})


def _devices(chosen: Any) -> Any:
    """Devices as they are given, or as `Device.to_dict` wrote them."""
    if isinstance(chosen, list):
        return [_device(each) for each in chosen]
    return _device(chosen)


def _device(chosen: Any) -> Any:
    return Device(**chosen) if isinstance(chosen, Mapping) else chosen


def _cut(record: Manifest, settings: Settings) -> Cut | None:
    """Where the run ended, unless all of its steps were taken."""
    outcome = record.outcome
    if outcome.stopped_by == "steps" and outcome.steps == settings.steps:
        return None
    lengths = tuple(int(n) for n in outcome.steps_of_octaves or [outcome.steps])
    planned = [octave.steps for octave in settings.plan] or [settings.steps]
    if len(lengths) > len(planned) or any(
        not 0 < n <= most for n, most in zip(lengths, planned, strict=False)
    ):
        raise InputError(f"{lengths} steps were taken of {planned}, says the manifest, which cannot be")
    return Cut(lengths, outcome.stopped_by)


def _run(
    net: Network,
    objective: Objective,
    settings: Settings,
    devices: Sequence[Device],
    cut: Cut | None,
    progress: bool,
) -> Result:
    from ..gradient import Engine

    settings = replace(settings, device=devices[0])
    if len(devices) == 1:
        engine = Engine(net, objective, batch=settings.batch, device=devices[0])
        return descend(engine, net, objective, settings, progress=progress, cut=cut)
    if cut is not None:
        raise InputError(
            "the run was shared by several devices and stopped before its last step, by each after steps of "
            "its own; it cannot be made again"
        )
    return spread(net, objective, settings, devices, progress=progress)


def _with_notes(result: Result, notes: Sequence[str]) -> Result:
    whole = [*result.notes, *notes]
    outcome = {**result.manifest["outcome"], "notes": whole}
    return replace(result, notes=tuple(whole), manifest={**result.manifest, "outcome": outcome})


def _differences(record: Manifest, net: Network) -> list[str]:
    """What is otherwise than where the run was made, and may decide bytes."""
    if record.environment is None:
        return [_BEFORE]
    before = {**record.versions, **record.environment, "threads": (record.source or {}).get("threads")}
    now: dict[str, Any] = {**versions(), **environment(), "threads": net.threads}
    changed = [name for name, value in before.items() if name in now and now[name] != value]
    if not changed:
        return []
    each = ", ".join(f"{name} {_shown(now[name])} instead of {_shown(before[name])}" for name in changed)
    return [f"the run was made elsewhere, so that the bytes may differ: {each}"]


def _in_parts(record: Manifest, result: Result) -> list[str]:
    """Whether other numbers of images went through the network together, which decides bytes too."""
    before, now = record.timings.images_at_once, result.manifest["timings"]["images_at_once"]
    return (
        [] if before == now else [f"{now} images went through the network at once, and {before} in the run"]
    )


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
