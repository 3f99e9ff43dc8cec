"""The code for CUDA devices under Numba's simulator, against NumPy and SciPy.

Run by tests/kernels/test_cuda.py in a process of its own, in which NUMBA_ENABLE_CUDASIM is set. The
simulator has a thread of Python for each thread of the device, so that pictures are small.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from sobolevflow import Bilateral, Multiscale, NaturalColour, PeronaMalik, metrics, total_variation
from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct, cuda, reference
from sobolevflow.kernels.cuda import convolution as convolution_cuda, total_variation as total_variation_cuda
from sobolevflow.total_variation import prox
from tests.support import cupy_on_numpy
from tests.support.filter_oracles import BOUNDARIES, assert_as_planned, random_image

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


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_large_planes_go_through_the_transforms_of_cufft(
    boundary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = np.ones((300, 513))
    for size, way in ((513, cuda.CuFFT), (512, cuda.Matrices)):
        for plane in (response[:, :size], response[:9, :size].T):
            found = cuda.multiplication(plane, "reflect", np.dtype(np.float32), 1.0)
            assert isinstance(found, way)
    monkeypatch.setattr(cuda, "_MATRIX_SIDE", 0)
    f = Sobolev(gamma=3.25, boundary=boundary)  # of no other test, since methods are kept
    x = picture(2, 14, 11)
    np.testing.assert_allclose(f(cupy_on_numpy.ndarray(x)).memory, reference(f, x), atol=2e-6)


def test_filters_made_of_others() -> None:
    x = picture(2, 12, 13)
    assert_as_reference(Identity(), x)
    assert_as_reference(Gaussian(5) @ Sobolev(5), x)
    assert_as_reference(2 * Identity() - Sobolev(gamma=1.0, boundary="periodic") @ Gaussian(3), x)


@pytest.mark.parametrize("f", [Gaussian(5), Sobolev(gamma=4.0), SobolevProduct(gamma=4.0), Identity()])
def test_colours_last_on_a_device(f: Filter) -> None:
    x = np.moveaxis(picture(2, 3, 12, 13), 1, -1).copy()
    expected = f(x, channel_axis=-1)
    on_device: Any = cupy_on_numpy.ndarray(x)
    found: Any = f(on_device, channel_axis=-1)
    assert found.memory.flags.c_contiguous
    np.testing.assert_allclose(found.memory, expected, atol=1e-5)
    out: Any = cupy_on_numpy.ndarray(np.full_like(x, np.nan))
    assert f(on_device, out=out, channel_axis=3) is out
    np.testing.assert_array_equal(out.memory, found.memory)
    assert f(on_device, out=on_device, channel_axis=-1) is on_device
    np.testing.assert_array_equal(on_device.memory, found.memory)


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


@pytest.fixture
def _capturable(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy_on_numpy.capture(monkeypatch, total_variation_cuda)
    cupy_on_numpy.few_threads(monkeypatch)


def on_device_and_host(f: Any, weight: Any, **options: Any) -> tuple[Any, Any]:
    return prox(cupy_on_numpy.ndarray(f), weight, **options), prox(f, weight, method="reference", **options)


KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"variation": "anisotropic"},
    {"huber": 0.1},
    {"variation": "anisotropic", "huber": 0.05, "algorithm": "accelerated"},
    {"algorithm": "accelerated"},
)


@pytest.mark.usefixtures("_capturable")
@pytest.mark.parametrize(
    ("options", "dtype"),
    list(zip(KINDS, [np.float32, np.float64, np.float32, np.float64, np.float32], strict=True)),
)
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 5, 7), 1), ((1, 3, 9), None), ((5, 1), None)])
def test_total_variation(shape: Any, axis: Any, options: Any, dtype: Any) -> None:
    f = picture(*shape, dtype=dtype)
    options = {**options, "channel_axis": axis, "tol": 1e-12, "max_iterations": 5, "check_every": 2}
    found, expected = on_device_and_host(f, 0.2, **options)
    unit = 40 * np.finfo(dtype).eps
    assert type(found.u).__module__ == "cupy"
    np.testing.assert_allclose(found.u.memory, expected.u, atol=unit)
    np.testing.assert_allclose(found.state.p.memory, expected.state.p, atol=unit)
    np.testing.assert_array_equal(found.iterations, expected.iterations)
    np.testing.assert_allclose(found.gap, expected.gap, atol=1e3 * unit)


@pytest.mark.usefixtures("_capturable")
def test_images_stop_one_by_one_on_the_device() -> None:
    f = picture(4, 4, 5, dtype=np.float64)
    f[2] = 0.5
    weight = [0.01, 0.3, 0.2, 0.0]
    found, expected = on_device_and_host(f, weight, check_every=4, max_iterations=24)
    np.testing.assert_array_equal(found.iterations, expected.iterations)
    np.testing.assert_array_equal(found.converged, expected.converged)
    assert len({*found.iterations}) == 3
    np.testing.assert_allclose(found.u.memory, expected.u, atol=1e-12)
    np.testing.assert_array_equal(found.u.memory[2:], f[2:])
    again = prox(cupy_on_numpy.ndarray(f), weight, check_every=4, state=found.state)
    assert (again.iterations[found.converged] == 0).all()
    np.testing.assert_array_equal(again.u.memory[found.converged], found.u.memory[found.converged])


@pytest.mark.usefixtures("_capturable")
def test_an_odd_number_of_iterations_leaves_images_that_were_done_alone() -> None:
    f = picture(2, 4, 6, dtype=np.float64)
    found, expected = on_device_and_host(f, [0.001, 0.5], check_every=4, max_iterations=9)
    assert found.iterations.tolist() == expected.iterations.tolist() == [4, 9]
    np.testing.assert_allclose(found.u.memory, expected.u, atol=1e-12)


def test_measures_of_images_of_a_device() -> None:
    u, v = picture(2, 3, 24, 25), picture(1, 3, 24, 25)
    on_device: Any = cupy_on_numpy.ndarray(u)
    for of_pairs in (metrics.psnr, metrics.ssim):
        for other in (v, cupy_on_numpy.ndarray(v)):
            found = of_pairs(on_device, other)
            assert isinstance(found, cupy_on_numpy.ndarray)  # what goes in comes back
            np.testing.assert_allclose(found.memory, of_pairs(u, v), rtol=1e-10)
    for of_images in (metrics.spectrum_slope, metrics.high_frequency_share):
        np.testing.assert_allclose(of_images(on_device).memory, of_images(u), rtol=1e-10)


def test_other_operators_on_images_of_a_device() -> None:
    f = picture(2, 3, 8, 9)
    on_device: Any = cupy_on_numpy.ndarray(f)
    last: Any = cupy_on_numpy.ndarray(np.moveaxis(f, 1, -1).copy())
    operator: Any
    for operator in (
        Bilateral(1.0, 0.2),
        PeronaMalik(0.2, 1.0),
        PeronaMalik(0.2, 1.0, "rational", coupled=False),
        NaturalColour(),
        Multiscale(2),
        NaturalColour() @ Multiscale(2),
    ):
        found = operator(on_device, channel_axis=1)
        np.testing.assert_allclose(found.memory, operator(f, channel_axis=1), atol=1e-5)
        of_last = operator(last, channel_axis=-1)
        assert of_last.memory.flags.c_contiguous
        np.testing.assert_array_equal(np.moveaxis(of_last.memory, -1, 1), found.memory)
    for name in ("value", "gradient"):
        function = getattr(total_variation, name)
        np.testing.assert_allclose(function(on_device).memory, function(f), rtol=1e-5, atol=1e-5)
    tgv, on_host = (total_variation.prox_tgv(x, 0.1, channel_axis=1) for x in (on_device, f))
    np.testing.assert_allclose(tgv.u.memory, on_host.u, atol=1e-5)
    np.testing.assert_array_equal(tgv.iterations, on_host.iterations)
    again = total_variation.prox_tgv(on_device, 0.1, channel_axis=1, state=tgv.state)
    assert (again.iterations == 0).all()
    found, expected = (total_variation.constrained(x[0, 0, :4, :4], 0.05) for x in (on_device, f))
    np.testing.assert_allclose(found.u.memory, expected.u, atol=1e-3)
