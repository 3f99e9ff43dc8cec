"""How smooth updates may be for a unit: the largest gamma that its value follows, found by short trials.

The smoother an update, the more its picture looks like a photograph, and the better other networks recognise
it, as long as the value rises at all. Large networks follow a gamma that small ones hardly answer to, and
nothing of a network's file says which it is. So a few steps are taken with each of some gammas, from the same
start through the same views, and the largest is taken whose value rises at least half as much as the best
one's.

Of classes and of the channels of a layer some are tried, the same whichever is asked for, so that gamma
depends on network and layer alone, and an image of a batch is the one that it would be alone. Of other
objectives the first target is tried, and decides for the batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..devices import Device
from ..errors import GradientError, SobolevflowError
from ..network import Network, receptive_field
from ..objectives import Channel, Class, Combination, Objective, structure
from ..schemes import Scheme
from .defaults import natural_recipe
from .loop import Loop
from .progress import progress_bar
from .settings import Settings

SHARES = (1.0, 1 / 6, 1 / 36)
"""What gamma may be, of the largest that makes sense."""

_STEPS = 8  # of a trial
_STRIDE = 1.5  # times the tau of the descent: small networks rise late
_LAST = 3  # steps that its value is averaged over
_ENOUGH = 0.5  # of the rise with the best gamma
_PROBES = 4  # targets that are tried at most
_AGREEING = 2  # of them, if they agree, are enough

_FOUND: WeakKeyDictionary[Network, dict[Any, Scheme]] = WeakKeyDictionary()
_LOCK = threading.Lock()


def reach_of(net: Network, objective: Objective) -> int | None:
    """How many pixels along a side the unit sees of the image; None where that cannot be told."""
    try:
        fields = [receptive_field(net, leaf.tensor(net), gates=False) for leaf in objective.leaves()]
    except SobolevflowError:  # which the gradient raises as well, and with more to say
        return None
    return max(side for field in fields for side in field.size)


def suited(
    net: Network, objective: Objective, settings: Settings, reach: int | None, *, progress: bool = True
) -> Settings:
    """The settings of a descent by the natural recipe, with the largest gamma that the value follows.

    Parameters
    ----------
    net, objective
        As for `visualize`.
    settings : Settings
        Of the descent; nothing but its device is looked at, so that an option of it changes one thing.
    reach : int, optional
        As `reach_of` says.
    progress : bool
        Show a progress bar.

    Notes
    -----
    48 to 96 evaluations of value and gradient of one image, once for each network and kind of objective.
    """
    probes = list(_probes(_of_one_image(objective), net))
    key = (structure(objective, net), *(str(probe.to_dict()) for probe in probes))
    with _LOCK:
        found = _FOUND.setdefault(net, {})
    if key not in found:
        short = {share: _short(net, reach, share, settings.place) for share in SHARES}
        found[key] = short[_tried(net, probes, short, progress)].scheme
    return replace(settings, scheme=found[key])


def _short(net: Network, reach: int | None, share: float, device: Device) -> Settings:
    """The settings of a trial with a share of the largest gamma."""
    recipe = natural_recipe("visualize", net.input_shape, reach=reach, share=share)
    own = {"tau": _STRIDE * recipe["tau"], "schedule": "constant", "steps": _STEPS, "batch": 1}
    return Settings(**{**recipe, **own, "device": device})


def _of_one_image(objective: Objective) -> Objective | None:
    """Without the terms that compare the images of a batch; None where there are no others."""
    terms = [(w, leaf) for w, leaf in objective.weighted() if not leaf.whole_batch]
    if not terms:
        return None
    if len(terms) == len(objective.leaves()):
        return objective
    alone = len(terms) == 1 and terms[0][0] > 0
    return terms[0][1] if alone else Combination(tuple(terms), objective.maximize)


def _tried(
    net: Network, probes: Sequence[Objective], short: Mapping[float, Settings], progress: bool
) -> float:
    """The largest of `SHARES` with which the value rises enough."""
    from ..gradient import Engine

    rises: list[NDArray[np.float64]] = []
    with progress_bar("trying how smooth", _PROBES * len(SHARES) * _STEPS, progress) as advance:
        for probe in probes:
            engine = Engine(net, probe, batch=1, device=short[SHARES[0]].place)
            rise = [_rise(Loop(engine, net, probe, short[share]), probe, advance) for share in SHARES]
            if max(rise) > 0:
                rises.append(np.array(rise) / max(rise))
            if len(rises) == _AGREEING and len(set(map(_largest, rises))) == 1:
                break
    return _largest(np.mean(rises, axis=0)) if rises else SHARES[0]


def _largest(rises: NDArray[np.float64]) -> float:
    """The largest of `SHARES` whose rise, relative to the best one's, is enough."""
    return next((s for s, rise in zip(SHARES, rises, strict=True) if rise >= _ENOUGH), SHARES[-1])


def _probes(objective: Objective | None, net: Network) -> Iterator[Objective]:
    """Some classes or channels of a layer, the same whichever is asked for; of other kinds the first."""
    places = [(k + 1) / (_PROBES + 1) for k in range(_PROBES)]
    if isinstance(objective, Class):
        count = net.classes_of(objective.output).count
        yield from (replace(objective, which=k) for k in sorted({int(at * count) for at in places}))
    elif isinstance(objective, Channel):
        axis = net.channel_axis(objective.layer) if objective.axis is None else objective.axis
        count = net.layer_shape(objective.layer)[axis]
        yield from (replace(objective, channel=k) for k in sorted({int(at * count) for at in places}))
    elif objective is not None:
        yield objective.for_images([0], net)


def _rise(loop: Loop, objective: Objective, advance: Callable[[float], None]) -> float:
    """How far the value rises, or falls where it is minimised; 0 where it has no gradient."""
    try:
        for _ in loop.steps():
            advance(loop.log.latest_value)
        values = loop.finished().history.value
    except GradientError:
        return 0.0
    rise = float(np.mean(values[-_LAST:]) - np.mean(values[0]))
    return rise if objective.maximize else -rise
