"""How much memory a descent is certain to hold, refused before the first step where the machine has less."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import checks
from ..capacity import check_fits
from .plan import Stage
from .settings import Settings

_SINGLE = 4  # bytes
_ARRAYS = 3  # of the size of the images: themselves, their gradient, and what a step makes of both
_MEASURED = 24  # bytes that the history holds of a step of an image


def check_snapshots(given: Mapping[str, Any], batch: int, input_shape: Sequence[int]) -> None:
    """InputError where as many copies as a number of snapshots says do not fit; lists no steps."""
    wanted, steps = (checks.plain(given[name]) for name in ("snapshots", "steps"))
    if checks.is_integer(wanted) and checks.is_integer(steps):
        copies = min(wanted, steps)
        check_fits(
            copies * batch * math.prod(input_shape),
            f"a run with {copies} snapshots",
            "keep fewer, snapshots=10 for one",
        )


def check_images(settings: Settings, stages: Sequence[Stage], channels: int) -> None:
    """InputError where the host cannot hold the images on the largest canvas of a descent."""
    if not settings.place.on_host:
        return
    height, width = max((stage.view.canvas for stage in stages), key=math.prod)
    pixels = settings.batch * channels * height * width
    several = f"{settings.batch} images" if settings.batch > 1 else "an image"
    check_fits(
        _ARRAYS * _SINGLE * pixels,
        f"a descent to {several} on a canvas of {height}x{width} pixels",
        "use a smaller canvas, octaves of smaller scales, or a smaller batch",
    )


def check_history(settings: Settings, ends_early: bool) -> None:
    """InputError where the measurements of all steps do not fit, unless something may end the descent."""
    if not ends_early and settings.seconds is None and settings.patience is None:
        check_fits(
            _MEASURED * settings.batch * settings.steps,
            f"the history of {settings.steps} steps",
            "take fewer, or say by seconds= or patience= when to stop",
        )
