"""Descend from a grey picture to one that an objective likes: `visualize` and `invert`.

The loop itself is in `loop`, one step of it in `step`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..arrays import Array
from ..devices import Device, devices_of
from ..errors import InputError
from ..optimizers import Optimizer
from ..results import Result
from ..schemes import Scheme
from ..transforms import Distribution
from .defaults import Task, filled
from .loop import DescentError, Loop, StepInfo
from .parametrization import Parametrization
from .plan import Octave
from .progress import progress_bar
from .settings import Normalisation, Schedule, Settings
from .several import spread

if TYPE_CHECKING:
    from ..network import Network
    from ..objectives import Objective


__all__ = ["DescentError", "Octave", "StepInfo", "descend", "invert", "visualize"]

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
    device: str | Device | Sequence[str | Device] = "cpu",
    progress: bool = True,
    callback: Callback | None = None,
    snapshots: int | Sequence[int] = 0,
    clip: bool | None = None,
    parametrization: Parametrization | None = None,
    mask: Array | None = None,
    autosave: str | os.PathLike[str] | None = None,
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
    device : str, Device or sequence of them
        Where to compute: "cpu"; "cuda" or "cuda:1", where all arrays stay in the memory of the GPU; another
        of onnxruntime's providers, which runs the network; or a `sf.Device` with more options. Of several,
        as a list or as "cuda:0,cuda:1", each takes its share of the batch, in a process of its own.
    progress : bool
        Show a progress bar where the standard error is a terminal.
    callback : callable, optional
        Called after each step with a `StepInfo`; returning True ends the descent. On a GPU the host then
        waits for every step, which it otherwise does not.
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
    autosave : path, optional
        A picture to which the images so far are written every ten seconds, and where the descent fails. If
        the process is killed, or the device lost, it is what is left.

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
    DeviceError
        The device cannot be used, its memory is used up (`DeviceMemoryError`), or it is lost on the way. In
        that case the error's ``result`` holds what had been reached when it was last copied to the host.
    SobolevflowError
        As the network and the objective raise.

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
        autosave=autosave,
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
    device: str | Device | Sequence[str | Device] = "cpu",
    progress: bool = True,
    callback: Callback | None = None,
    snapshots: int | Sequence[int] = 0,
    clip: bool | None = None,
    parametrization: Parametrization | None = None,
    mask: Array | None = None,
    autosave: str | os.PathLike[str] | None = None,
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
    progress, callback, snapshots, clip, parametrization, mask, autosave
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
        autosave=autosave,
    )


def _batch(objective: Objective, batch: int | None) -> int:
    """The number of images: that of the objective's targets where it is left open."""
    from ..objectives import Objective, natural_batch

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
    from ..gradient import Engine
    from ..network import Network

    count = _batch(objective, batch)
    if not isinstance(net, Network):
        raise InputError(f"net must be a network opened by sf.load, got {net!r}.")
    devices = devices_of(given["device"])
    given["device"] = devices[0]
    settings = Settings(batch=count, **filled(task, given, net.input_shape, net.latent))
    settings.stages(net.input_shape[1:])  # a canvas that is too small should not wait for the engine
    if len(devices) > 1:
        if callback is not None:
            raise InputError("a callback is told of the steps of one device; leave it out, or the others.")
        return spread(net, objective, settings, devices, progress=progress)
    engine = Engine(net, objective, batch=settings.batch, device=devices[0])
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
        attribute ``shape``. `sobolevflow.engine.Engine` is one. Of others the arrays are NumPy's.
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
    loop, done = Loop(engine, net, objective, settings), 0
    with progress_bar(str(objective), settings.total_steps, progress) as advance:
        try:
            for done in loop.steps():
                advance(loop.latest_value)
                if callback is not None and callback(loop.info()):
                    loop.stop(
                        "callback", f"Stopped by the callback after {done} of {settings.total_steps} steps."
                    )
                    break
        except KeyboardInterrupt:
            loop.stop("interrupt", f"Interrupted after {done} of {settings.total_steps} steps.")
    return loop.finished()
