"""Settings of the whole suite."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from tests.support.paths import BENCH

# No deadline: the first call of a test may compile a kernel or build a session, on a machine that is busy.
settings.register_profile("sobolevflow", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("sobolevflow")


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers that each test draws from the start, whichever others run before it."""
    return np.random.default_rng(0)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A script of bench/ by its name."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


@pytest.fixture(scope="module")
def cupy() -> Any:
    """CuPy, where there is a card for it."""
    cupy = pytest.importorskip("cupy", reason="needs CuPy: the extra cuda13 or cuda12")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        count = 0
    if count < 1:
        pytest.skip("needs an NVIDIA GPU")
    return cupy
