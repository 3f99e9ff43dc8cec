"""The code for CUDA devices under Numba's simulator, against NumPy and SciPy.

Run by test_cuda.py in a process of its own, in which NUMBA_ENABLE_CUDASIM is set. The simulator has a
thread of Python for each thread of the device, so that pictures are small.
"""

from __future__ import annotations

import functools
from typing import Any

import cupy_on_numpy
import numpy as np
import pytest
from filter_oracles import BOUNDARIES, assert_as_planned, random_image

from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct, reference
from sobolevflow.kernels import convolution_cuda

# Each of both, in fewer runs than all pairs.
PAIRS = list(zip(BOUNDARIES, (np.float32, np.float64, np.float16), strict=True))
picture = functools.partial(random_image, 0, dtype=np.float32)


def assert_as_reference(f: Filter, x: Any) -> None:
    on_device = cupy_on_numpy.ndarray(x)
    y = f(on_device)
    assert type(y).__module__ == "cupy"
    assert_as_planned(f, x, y.memory)


@pytest.mark.parametrize(("boundary", "dtype"), PAIRS)
@pytest.mark.parametrize("f", [Gaussian(11), Sobolev(11), Sobolev(11, method="dense"), Gaussian(3)])
def test_windows(f: Any, boundary: Any, dtype: Any) -> None:
    f = type(f)(f.size, boundary=boundary, method=f.method)
    assert_as_reference(f, picture(2, 19, 21, dtype=dtype))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 1), (2, 2), (16, 118), (17, 119)])
def test_windows_on_narrow_planes_and_at_the_edges_of_tiles(shape: tuple[int, int], boundary: Any) -> None:
    assert_as_reference(Gaussian(11, boundary=boundary), picture(*shape))
    assert_as_reference(Sobolev(7, 0.5, boundary=boundary, method="dense"), picture(*shape))


@pytest.mark.parametrize("method", ["fir", "dense"])
def test_the_widest_windows(method: Any) -> None:
    radius = convolution_cuda.LARGEST_RADIUS
    f = Sobolev(2 * radius + 1, 8.0, method=method)
    assert f.plan((40, 30), device="cuda").method == ("dense" if method == "dense" else "low-rank")
    assert_as_reference(f, picture(40, 30, dtype=np.float64))


@pytest.mark.parametrize(("boundary", "dtype"), PAIRS)
@pytest.mark.parametrize("shape", [(5, 6), (1, 1), (37, 2), (2, 3, 40)])
def test_exact_filters_and_the_product(shape: tuple[int, ...], boundary: Any, dtype: Any) -> None:
    x = picture(*shape, dtype=dtype)
    assert_as_reference(Sobolev(gamma=4.0, boundary=boundary), x)
    assert_as_reference(SobolevProduct(gamma=(4.0, 0.5), order=2, boundary=boundary), x)


def test_filters_made_of_others() -> None:
    x = picture(2, 12, 13)
    assert_as_reference(Identity(), x)
    assert_as_reference(Gaussian(5) @ Sobolev(5), x)
    assert_as_reference(2 * Identity() - Sobolev(gamma=1.0, boundary="periodic") @ Gaussian(3), x)


def test_out_strides_and_overlap() -> None:
    f, x = Gaussian(5), picture(2, 12, 13)
    expected = reference(f, x)
    wide = cupy_on_numpy.empty((2, 12, 26), np.float32)
    out = wide[..., ::2]
    assert f(cupy_on_numpy.ndarray(x), out=out) is out
    np.testing.assert_allclose(out.memory, expected, atol=1e-6)
    same = cupy_on_numpy.ndarray(x.copy())
    f(same, out=same)
    np.testing.assert_allclose(same.memory, expected, atol=1e-6)
    backwards = cupy_on_numpy.ndarray(x[..., ::-1, ::-1].copy())[..., ::-1, ::-1]
    np.testing.assert_allclose(f(backwards).memory, expected, atol=1e-6)


def test_more_planes_than_a_launch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_cuda, "MOST_PLANES", 2)
    assert_as_reference(Gaussian(3), picture(5, 4, 3))
