"""A batch spread over several devices, each with a process of its own.

Images of a batch do not depend on each other: image i has its own random numbers, seeded with ``seed + i``.
So every process descends to its share of them as if it were alone, and what they return is put together.
"""

from __future__ import annotations

import math
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import fingerprint
from ..devices import Device
from ..errors import DeviceError, InputError, SobolevflowError
from ..pictures import Pixels
from ..results import History, Manifest, Record, Result
from .divergence import divergence
from .loop import Loop
from .progress import label, progress_bar
from .provenance import arrays
from .rescue import DescentError
from .settings import Settings

if TYPE_CHECKING:
    from ..network import Network
    from ..objectives import Objective


_TOLD_EVERY = 8  # steps


@dataclass
class _Part:
    """A process, the images that it has, and what is known of it."""

    images: slice
    process: Any
    line: Connection
    step: int = 0
    value: float = math.nan
    result: Result | None = None
    error: BaseException | None = None
    open: bool = True


def spread(
    net: Network,
    objective: Objective,
    settings: Settings,
    devices: Sequence[Device],
    *,
    progress: bool = True,
) -> Result:
    """Descend on several devices at once.

    Parameters
    ----------
    net, objective, settings
        As for `descend`; the settings are those of the whole batch.
    devices : sequence of Device
        Each takes an equal share of the images, to one; those without a share stay idle.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Result
        That of one device, to rounding. Where the processes were interrupted at different steps, or ended at
        different steps by `seconds` or `patience`, which each looks at for its own images, the history ends
        with the first of them.

    Raises
    ------
    DescentError, DeviceError
        A part has failed; the message says which, and the others have been stopped.
    InputError
        The images depend on each other, or something cannot be handed to a process, such as a function that
        was defined within another.
    """
    if any(leaf.whole_batch for leaf in objective.leaves()):
        raise InputError(f"{objective} compares the images of a batch; give it a single device.")
    parts = [
        _started(net, objective, settings, device, images)
        for device, images in zip(devices, shares(settings.batch, len(devices)), strict=False)
    ]
    try:
        with progress_bar(label(objective, settings.seconds), settings.steps, progress) as advance:
            _listen(parts, advance)
    finally:
        for part in parts:
            if part.open:
                part.process.kill()
            part.process.join()
    return _together(parts, net, objective, settings, devices)


def shares(batch: int, devices: int) -> list[slice]:
    """The images of each device: equal shares to one, none of them empty."""
    count = min(batch, devices)
    ends = [batch * (k + 1) // count for k in range(count)]
    return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]


# --- in the process of a part -------------------------------------------------------------------


_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def _deaf_children() -> Iterator[None]:
    """A context in which processes are started that such signals do not reach, not even as they start."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_process(line: Connection, *given: Any) -> None:
    """As `_descend_to_part`, for a process that its parent alone ends: signals go to all of a terminal."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    with suppress(BrokenPipeError):  # the parent is gone
        _descend_to_part(line, *given)


def _descend_to_part(
    line: Connection, net: Network, objective: Objective, settings: Settings, images: slice
) -> None:
    """Descend to some images of the batch; tell of the steps, and at the end of the result or the error."""
    from ..gradient import Engine

    try:
        whole = settings.batch
        engine = Engine(net, objective, batch=whole, device=settings.place, images=images)
        of_part = objective.for_images(range(whole)[images])
        loop = Loop(engine, net, objective, _own(settings, images), of_part)
        for step in loop.steps():
            if step % _TOLD_EVERY == 0:
                line.send(("step", step, loop.log.latest_value))
            if line.poll():  # the parent was interrupted, or is gone
                loop.log.stop("interrupt", f"Interrupted after {step} of {settings.steps} steps.")
                break
        line.send(("result", loop.finished(), None))
    except Exception as error:
        line.send(("error", _without_cause(error), None))


def _own(settings: Settings, images: slice) -> Settings:
    """The settings of the images of a part."""
    start = settings.start
    if isinstance(start, np.ndarray) and start.ndim == 4 and len(start) == settings.batch:
        start = start[images]
    count = images.stop - images.start
    path = settings.autosave_path
    if path is not None:
        path = path.with_name(f"{path.stem}-{images.start}{path.suffix}")
    return replace(settings, batch=count, seed=settings.seed + images.start, start=start, autosave=path)


def _without_cause(error: Exception) -> Exception:
    """An error that can be sent: what it arose from may not be."""
    error.__cause__ = error.__context__ = None
    return error


# --- in the process of the caller ---------------------------------------------------------------


def _started(net: Network, objective: Objective, settings: Settings, device: Device, images: slice) -> _Part:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    here, there = context.Pipe()
    own = replace(settings, device=device)
    process = context.Process(
        target=_in_process, args=(there, net, objective, own, images), name=str(device), daemon=True
    )
    try:
        with _deaf_children():
            process.start()
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise InputError(
            f"the descent cannot be handed to the process of device {str(device)!r} ({error}). Define "
            "functions at the top of a module, or use a single device."
        ) from error
    there.close()
    return _Part(images, process, here)


def _listen(parts: Sequence[_Part], advance: Callable[[float], None]) -> None:
    """Take in what the processes say until all have finished, or one has failed."""
    shown = 0
    while any(part.open for part in parts):
        try:
            ready = wait([part.line for part in parts if part.open])
            for part in parts:
                if part.line in ready:
                    _take(part)
        except KeyboardInterrupt:
            for part in parts:
                if part.open:
                    with suppress(OSError):  # it has just ended
                        part.line.send("stop")
            continue  # they send what they have
        if any(part.error is not None for part in parts):
            return
        for _ in range(shown, slowest := min(part.step for part in parts)):
            advance(float(np.nanmean([part.value for part in parts])))
        shown = max(shown, slowest)


def _take(part: _Part) -> None:
    try:
        kind, what, value = part.line.recv()
    except EOFError:
        part.open = False
        part.process.join()
        code = part.process.exitcode
        part.error = DeviceError(f"its process ended by itself (code {code}).")
        return
    if kind == "step":
        part.step, part.value = what, value
        return
    part.open = False
    part.result, part.error = (what, None) if kind == "result" else (None, what)


# --- the whole ----------------------------------------------------------------------------------


def _together(
    parts: Sequence[_Part],
    net: Network,
    objective: Objective,
    settings: Settings,
    devices: Sequence[Device],
) -> Result:
    for part in parts:
        if part.error is not None:
            raise _named(part)
    results = [part.result for part in parts if part.result is not None]
    values = [r.value for r in results if r.value is not None]
    drawn = [r.drawn for r in results if r.drawn is not None]
    parameters = {**settings.to_dict(), "device": [d.to_dict() for d in devices]}
    manifest = Manifest.merge([Manifest.from_dict(r.manifest) for r in results], parameters)
    u = np.concatenate([r.u for r in results])
    history = _joined_history([r.history for r in results])
    maximize = bool(objective.maximize)
    found = divergence(history, u, settings, maximize=maximize, latent=net.latent)
    notes = [*manifest.outcome.notes, *found]
    outcome = replace(manifest.outcome, sha256=fingerprint(u)["sha256"], notes=notes)
    manifest = replace(manifest, outcome=outcome)
    return Result(
        u=u,
        value=np.concatenate(values) if len(values) == len(results) else None,
        history=history,
        snapshots=_joined_snapshots([r.snapshots for r in results]),
        stopped_by=manifest.outcome.stopped_by,
        notes=tuple(manifest.outcome.notes),
        manifest=manifest.to_dict(),
        drawn=np.concatenate(drawn) if drawn else None,
        arrays=arrays(net, objective, settings),
    )


def _named(part: _Part) -> BaseException:
    """The error of a part, with the images it is of; what it had reached is attached to it."""
    error, images = part.error, part.images
    assert error is not None
    if not isinstance(error, SobolevflowError):
        return error
    where = f"Images {images.start} to {images.stop - 1}, device {part.process.name!r}: {error.full}"
    if isinstance(error, DescentError):
        return DescentError(where, error.result)
    named = type(error)(where)
    if isinstance(named, DeviceError):
        named.result = getattr(error, "result", None)
    return named


def _joined_history(histories: Sequence[History]) -> History:
    """Step by step the records of all images."""
    records = [_joined_record(each) for each in zip(*(h.records for h in histories), strict=False)]
    return History(tuple(records), sum(h.batch for h in histories))


def _joined_record(records: Sequence[Record]) -> Record:
    gaps = [r.tv_gap for r in records if r.tv_gap is not None]
    counts = [r.tv_iterations for r in records if r.tv_iterations is not None]
    return replace(
        records[0],
        value=np.concatenate([r.value for r in records]),
        mean_abs_gradient=np.concatenate([r.mean_abs_gradient for r in records]),
        rms_step=np.concatenate([r.rms_step for r in records]),
        tv_gap=max(gaps) if gaps else None,
        tv_iterations=max(counts) if counts else None,
    )


def _joined_snapshots(each: Sequence[dict[int, Pixels]]) -> dict[int, Pixels]:
    """Those that all parts have."""
    common = set.intersection(*(set(snapshots) for snapshots in each))
    return {step: np.concatenate([snapshots[step] for snapshots in each]) for step in sorted(common)}
