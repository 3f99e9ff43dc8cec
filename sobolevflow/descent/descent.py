"""Descend from a grey picture to one that an objective likes: `visualize` and `invert`.

The loop itself is in `loop`, one step of it in `step`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from .. import checks
from ..devices import devices_of
from ..errors import InputError
from ..results import Result
from .budget import Cut
from .cost import check_history, check_images, check_snapshots
from .declaration import Asked, AskedToInvert, RecipeName
from .declaring import Task
from .defaults import filled, is_natural
from .log import Aim, Subject
from .loop import Loop
from .progress import Callback, label, progress_bar
from .settings import Settings
from .several import spread
from .signature import descends
from .trials import reach_of, suited

if TYPE_CHECKING:
    from ..gradient import Evaluates
    from ..network import Network
    from ..objectives import Objective


@descends("visualize", Asked)
def visualize(net: Network, objective: Objective, **given: Any) -> Result:
    """Descend to images that an objective likes: activation maximization, equations (1) and (4).

    Parameters
    ----------
    net : Network
        From `sf.load`.
    objective : Objective
        What to maximise (`sf.Class`, `sf.Channel`, ...) or to match (`sf.Inversion`).
    **given
        Parameters of the descent, declared and explained in `sobolevflow.descent.declaration`.

    Returns
    -------
    Result
        Also after Ctrl-C, with what had been reached; ``result.stopped`` says how it ended, and
        ``result.interrupted`` and ``result.notes`` as well.

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
    Without a scheme the recipe is the one that docs/recipes.md measures: momentum, tau = 2/255 falling by a
    cosine, gradients normalised after K_f, jitter of 24 pixels, turns of 10 degrees and zooms of 0.15 for a
    network that takes 224 pixels. gamma and jitter grow with what the unit sees of the image, and gamma is
    the largest that the value follows in short trials: 48 to 96 evaluations of one image before the first
    step, once for each network and kind of objective. With a scheme nothing is tried, and defaults are the
    paper's: plain descent of constant tau = 5/255, normalised before K_f, jitter of 2 pixels, nothing else.

    One step costs one run of the gradient graph, a multiple of the network's forward pass; the filters take a
    few nanoseconds a pixel. A run on the CPU is repeatable bit by bit on one machine and number of threads.
    An image whose gradient vanishes during the descent stays as it is until a gradient returns. Threads may
    descend at the same time, also on one network; one of them has the progress bar.
    """
    return _run("visualize", net, objective, **given)


@descends("invert", AskedToInvert)
def invert(net: Network, objective: Objective, **given: Any) -> Result:
    """Descend to images with given features: inversion, equation (3).

    The loop of `visualize` with the defaults that suit inversion.

    Parameters
    ----------
    net : Network
        From `sf.load`.
    objective : Inversion
        ``sf.Inversion(layer, image)``.
    **given
        Parameters of the descent, declared and explained in `sobolevflow.descent.declaration`.

    Returns
    -------
    Result

    Raises
    ------
    SobolevflowError
        As `visualize`.

    Notes
    -----
    Without a scheme the recipe is what the other network recognises most often in docs/recipes.md: momentum,
    tau = 1/255 falling by a cosine, gradients normalised after K_f and a jitter of 4 pixels, which costs some
    of the feature error, and keeps out what only one position of one network sees. With a scheme tau falls by
    a cosine as well, because normalised steps of constant length never settle.
    """
    return _run("invert", net, objective, **given)


def _batch(objective: Objective, batch: int | None) -> int:
    """The number of images: that of the objective's targets where it is left open."""
    from ..objectives import natural_batch

    return natural_batch(objective) if batch is None else batch


def _run(
    task: Task,
    net: Network,
    objective: Objective,
    *,
    batch: int | None,
    recipe: RecipeName,
    progress: bool,
    callback: Callback | None,
    **given: Any,
) -> Result:
    """Fill in the defaults, build the gradient of the objective, and descend."""
    from ..gradient import Engine
    from ..objectives import check_asked

    objective = check_asked(net, objective)
    recipe = checks.one_of(recipe, "recipe", get_args(RecipeName))
    progress = checks.flag(progress, "progress")
    if not (callback is None or callable(callback)):
        checks.refuse(callback, "callback", "a function of a StepInfo")
    count = _batch(objective, batch)
    devices = devices_of(given["device"])
    given["device"] = devices[0]
    check_snapshots(given, checks.count(count, "batch"), net.input_shape)
    suits = task == "visualize" and not net.latent and is_natural(given, recipe)
    reach = reach_of(net, objective) if suits else None
    settings = Settings(batch=count, **filled(task, given, net.input_shape, net.latent, recipe, reach))
    if isinstance(settings.start, np.ndarray) and not net.latent:
        checks.say_far_outside("start", float(settings.start.min()), float(settings.start.max()))
    stages = settings.stages(
        net.input_shape[1:]
    )  # what is wrong with a canvas should not wait for the engine
    check_images(settings, stages, net.input_shape[0])
    check_history(settings, callback is not None)
    if len(devices) > 1 and callback is not None:
        raise InputError("a callback is told of the steps of one device; leave it out, or the others.")
    interrupted = False
    if suits and given["scheme"] is None:
        try:
            settings = suited(net, objective, settings, reach, progress=progress)
        except KeyboardInterrupt:
            interrupted = True
    if len(devices) > 1 and not interrupted:
        return spread(net, objective, settings, devices, progress=progress)
    engine = Engine(net, objective, batch=settings.batch, device=devices[0])
    if interrupted:
        return _interrupted(Loop(engine, net, objective, settings), 0, settings.steps)
    return descend(engine, net, objective, settings, progress=progress, callback=callback)


def descend(
    engine: Evaluates,
    net: Subject,
    objective: Aim,
    settings: Settings,
    *,
    progress: bool = True,
    callback: Callback | None = None,
    cut: Cut | None = None,
) -> Result:
    """Run the loop on a compiled objective.

    Parameters
    ----------
    engine : Evaluates
        From u, (N, C, H, W) float32, to the objective's (values (N,), gradient (N, C, H, W)), arrays of
        NumPy; it has the attribute ``shape``. What has more, as an `Engine`, is asked for more.
    net, objective
        As for `visualize`; the sense of the objective is used, everything else goes into the manifest.
    settings : Settings
        The checked parameters.
    progress, callback
        As for `visualize`.
    cut : Cut, optional
        Where to end, of a run that is made again.

    Returns
    -------
    Result

    Raises
    ------
    DescentError
        As `visualize`.
    """
    loop, done, steps = Loop(engine, net, objective, settings, cut=cut), 0, settings.steps
    with progress_bar(label(objective, settings.seconds), steps, progress) as advance:
        try:
            for done in loop.steps():
                advance(loop.log.latest_value)
                if callback is not None and callback(loop.info()):
                    loop.log.stop("callback", f"Stopped by the callback after {done} of {steps} steps.")
                    break
        except KeyboardInterrupt:
            return _interrupted(loop, done, steps)
    try:
        return loop.finished()
    except KeyboardInterrupt:  # after the last step
        return _interrupted(loop, done, steps)


def _interrupted(loop: Loop, done: int, steps: int) -> Result:
    loop.log.stop("interrupt", f"Interrupted after {done} of {steps} steps.")
    return loop.finished()
