"""Compiled kernels against the NumPy references they stand in for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sobolevflow.total_variation import duality_gap, prox, value
from sobolevflow.total_variation.model import gap_bound
from tests.support.at_once import at_once
from tests.support.paths import ROOT

sides = st.integers(1, 12)


@given(sides, sides, st.integers(1, 4), st.floats(1e-3, 2), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_total_variation_kernel_is_the_reference(
    dtype: Any, h: int, w: int, channels: int, weight: float, seed: int
) -> None:
    f = np.random.default_rng(seed).standard_normal((2, channels, h, w)).astype(dtype)
    compiled, reference = (
        prox(f, weight, tol=1e-12, max_iterations=23, channel_axis=1, method=m)
        for m in ("numba", "reference")
    )
    unit = 40 * np.finfo(dtype).eps
    np.testing.assert_allclose(compiled.u, reference.u, rtol=unit, atol=unit)
    # the dual steps multiply the rounding of u, whatever the weight is
    np.testing.assert_allclose(compiled.state.p, reference.state.p, atol=2.5 * unit)
    assert (compiled.iterations >= reference.iterations).all()  # whose gap counts in what rounding may hide
    assert dtype == np.float32 or (compiled.iterations == reference.iterations).all()
    for n in range(2):
        u, p = compiled.state.u[n], compiled.state.p[n]
        true = duality_gap(f[n], u, p, weight)
        allowance = gap_bound(true, weight * value(u, channel_axis=0), f[n], weight) - true
        assert true <= compiled.gap[n] + 1e-14
        assert compiled.gap[n] <= true + 2.1 * allowance  # rounding may have added what it may have taken


def test_total_variation_kernel_is_the_same_for_any_number_of_threads() -> None:
    import numba

    f = np.random.default_rng(0).random((5, 3, 16, 17), dtype=np.float32)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = prox(f, 0.1, channel_axis=1)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(prox(f, 0.1, channel_axis=1).u, alone.u)


def test_importing_the_package_does_not_import_numba() -> None:
    code = (
        "import sys, sobolevflow.kernels, sobolevflow.total_variation, sobolevflow.filters; "
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- several threads of the caller's ---------------------------------------------------------------


def test_callers_share_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    from sobolevflow.kernels import threads

    class Slow(ThreadPoolExecutor):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            time.sleep(0.05)

    monkeypatch.setattr(threads, "_pool", None)
    monkeypatch.setattr(threads, "ThreadPoolExecutor", Slow)
    pools = at_once([threads._threads] * 4)
    assert len({id(pool) for pool in pools}) == 1
    pools[0].shutdown()


FIRST_USE = """
import numpy as np
import sobolevflow as sf
from tests.support.at_once import at_once

x = np.random.default_rng(0).random((2, 3, 24, 28), np.float32)
found = at_once([lambda: sf.PeronaMalik()(x)] * 4, seconds=300.0)
assert all(np.array_equal(each, sf.PeronaMalik()(x)) for each in found)
"""


def test_kernels_may_be_compiled_by_several_threads_at_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
