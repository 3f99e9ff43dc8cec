"""Samples of long tables: what is left out of a run belongs to `make full`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], every: int = 3) -> list[Any]:
    """Cases of a test, of which all but the first of so many one after another are `thorough`.

    A tuple is of several arguments.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.thorough if k % every else ()
        )
        for k, case in enumerate(cases)
    ]
