"""Checks of arguments, each worded once."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from .errors import InputError


def _python_scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _positive(name: str, value: float) -> float:
    if not (_is_number(value) and value > 0):
        raise InputError(f"{name} must be a positive number, got {value!r}.")
    return float(value)


def _nonnegative(name: str, value: float) -> float:
    if not (_is_number(value) and value >= 0):
        raise InputError(f"{name} must be a number, 0 or above, got {value!r}.")
    return float(value)


def _positive_integer(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return int(value)


def _natural_number(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise InputError(f"{name} must be a whole number of at least 0, got {value!r}.")
    return int(value)
