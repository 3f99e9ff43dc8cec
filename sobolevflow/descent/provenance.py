"""What a run is made of: the arrays that a manifest only has the hashes of, and what no manifest tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, fingerprint
from ..errors import SobolevflowError
from ..named import member
from ..objectives import Objective, arrays_of, from_dict
from ..schemes import Scheme
from .settings import Settings

Find = Callable[[str, Mapping[str, Any]], Array]
"""From what an array is, for messages, and its fingerprint to the array."""


def made(family: Any, data: Mapping[str, Any]) -> Any:
    """The optimizer or parametrization that its ``to_dict`` described."""
    parameters = dict(data)
    return member(family, str(parameters.pop("name", ""))).make(**parameters)


def arrays(net: Any, objective: Any, settings: Settings) -> dict[str, Array]:
    """All arrays that a run was given, by the SHA-256 of their values."""
    source = getattr(net, "source", None)
    found: dict[str, Array] = {} if source is None else dict(source.arrays)
    if isinstance(objective, Objective):
        found |= arrays_of(objective)
    own = [each for each in (settings.start, settings.mask) if isinstance(each, np.ndarray)]
    return found | {fingerprint(each)["sha256"]: each for each in own}


def not_told(objective: Any, settings: Settings) -> list[str]:
    """The parts of a run that cannot be made from what the manifest says of them, by their names."""
    parts: dict[str, tuple[Any, Callable[[], Any]]] = {
        "scheme": (settings.scheme, lambda: Scheme.from_dict(settings.scheme.to_dict())),
        "optimizer": (settings.direction, lambda: made("optimizer", settings.direction.to_dict())),
    }
    if settings.parametrization is not None:
        P = settings.parametrization
        parts["parametrization"] = (P, lambda: made("parametrization", P.to_dict()))
    if isinstance(objective, Objective):
        own, described = arrays_of(objective), objective.to_dict()
        parts["objective"] = (
            described,
            lambda: from_dict(described, lambda what, wanted: own[wanted["sha256"]]).to_dict(),
        )
    untold = [name for name, (part, again) in parts.items() if not _same(part, again)]
    return [*untold, *(["schedule"] if callable(settings.schedule) else [])]


def _same(part: Any, again: Callable[[], Any]) -> bool:
    """Whether a part is equal to what is made from its description, if anything can be."""
    try:
        return bool(again() == part)
    except (SobolevflowError, TypeError, ValueError, KeyError, AttributeError):  # of a class of the caller's
        return False
