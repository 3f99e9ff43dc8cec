"""The compiled ways to apply a filter against NumPy and SciPy, and how they share out their work."""

from __future__ import annotations

import functools
import multiprocessing
import tracemalloc
from typing import Any

import numba
import numpy as np
import pytest

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.experiments.benchmark import numba_threads
from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct, reference
from sobolevflow.filters.host import compiled_radius, is_smooth
from sobolevflow.kernels import threads
from tests.support.filter_oracles import BOUNDARIES, random_image

# One filter for each method, and that method.
EVERY: list[tuple[Filter, str]] = [
    (Gaussian(11), "separable"),
    (Sobolev(21), "low-rank"),
    (Sobolev(11), "dense"),
    (Sobolev(gamma=4.0), "tridiagonal"),
    (Sobolev(gamma=4.0, order=1.5), "spectral"),
    (SobolevProduct(gamma=4.0), "recursive"),
    (Identity(), "identity"),
    (Sobolev(11) @ Gaussian(5), "parts"),
]


picture = functools.partial(random_image, 0, dtype=np.float32)


def assert_as_reference(f: Filter, x: Any) -> None:
    bound = 1e-6 if x.dtype == np.float32 else 1e-14
    np.testing.assert_allclose(f(x), reference(f, x.astype(np.float64)), atol=30 * bound, rtol=0)


@pytest.mark.parametrize(("f", "method"), EVERY)
def test_plan_names_the_method(f: Filter, method: str) -> None:
    plan = f.plan((3, 224, 224))
    assert plan.method == method
    assert str(plan).startswith(method)
    assert plan.error_bound == plan.truncation + plan.rounding
    assert plan.bytes >= 8
    assert f.plan((224, 224), np.float64).rounding < 1e-6 * plan.rounding or method == "identity"


def test_plan_falls_back_where_a_method_cannot() -> None:
    assert Sobolev(gamma=4.0).plan((223, 224)).method == "spectral"  # a prime number of rows
    assert Sobolev(gamma=4.0, boundary="zero").plan((224, 224)).method == "spectral"
    assert Sobolev(gamma=4.0, order=7).plan((224, 224)).method == "spectral"
    assert Gaussian(51).plan((224, 224)).method == "spectral"
    assert Sobolev(gamma=4.0).plan((224, 224), device="cuda").method == "spectral"
    assert Gaussian(11).plan((224, 224), np.float16, device="cuda").rounding > 2**-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((5,),), "at least the axes"),
        (((0, 4),), "none is empty"),
        (("ab",), "give that of an image"),
        (((4, 4), np.int32), "supported are float32"),
        (((4, 4), np.float16), "on a CUDA device"),
    ],
)
def test_bad_plans(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Gaussian(5).plan(*arguments)
    with pytest.raises(UnknownNameError, match="device is 'gpu'"):
        Gaussian(5).plan((4, 4), device="gpu")  # type: ignore[arg-type]


# --- against the reference ----------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("n", [*range(1, 33), 35, 36, 49, 50, 54, 60, 63, 64, 105, 128, 224, 225, 343, 486])
def test_transforms_of_every_smooth_length(n: int, boundary: Any) -> None:
    # Down the columns with elimination along the rows, and both ways.
    if is_smooth(n):
        assert Sobolev(gamma=4.0, boundary=boundary).plan((n, 5)).method == "tridiagonal"
    for order in (1.0, 1.5):
        f = Sobolev(gamma=(3.0, 0.7), order=order, boundary=boundary)
        assert_as_reference(f, picture(n, 5, dtype=np.float64))
        assert_as_reference(f, picture(2, 6, n, dtype=np.float64))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("gamma", [1e-3, 0.5, 30.0, 1e4])
@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 64, 200])
def test_elimination_along_lines_of_every_length(n: int, gamma: float, boundary: Any) -> None:
    for order in (1, 3):
        f = SobolevProduct(gamma=(gamma, 2 * gamma), order=order, boundary=boundary)
        for shape in ((n, 3), (2, 35, n)):
            x = picture(*shape, dtype=np.float64)
            np.testing.assert_allclose(f(x), reference(f, x), atol=1e-11)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("f", [Gaussian(11), Sobolev(11), Sobolev(21)])
def test_windows_over_several_strips_and_blocks(f: Any, boundary: Any) -> None:
    f = type(f)(f.size, boundary=boundary)
    assert_as_reference(f, picture(2, 75, 1100))
    assert_as_reference(f, picture(3, 4, 515))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_windows_much_wider_than_the_image(shape: tuple[int, int], boundary: Any) -> None:
    for f in (
        Gaussian(41, boundary=boundary),
        Sobolev(41, boundary=boundary),
        Sobolev(11, boundary=boundary),
    ):
        assert_as_reference(f, picture(*shape, dtype=np.float64))


def test_windows_are_widened_to_few_radii() -> None:
    radii = [compiled_radius(radius) for radius in range(1, 25)]
    assert all(radius <= wider <= 1.3 * radius + 1 for radius, wider in enumerate(radii, 1))
    assert len(set(radii)) < 15


# --- threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "method"), EVERY)
@pytest.mark.parametrize("shape", [(9, 64, 70), (1, 300, 320)])
def test_any_number_of_threads_gives_the_same(f: Filter, method: str, shape: tuple[int, ...]) -> None:
    x = picture(*shape)
    results = []
    for count in {1, numba.get_num_threads()}:
        with numba_threads(count):
            results.append(f(x))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_sharing_covers_everything_once() -> None:
    for total, least in ((1, 1), (7, 1), (100, 30), (5, 9)):
        parts: list[Any] = threads.share(lambda *part: part, total, least)
        done = sorted(parts)
        assert [stop for _, stop in done[:-1]] == [start for start, _ in done[1:]]
        assert (done[0][0], done[-1][1]) == (0, total)
        assert len(done) <= max(1, total // least)


def test_an_error_in_a_thread_arrives() -> None:
    def fail(start: int, stop: int) -> None:
        if stop == 8:
            raise ValueError("the last part")

    with pytest.raises(ValueError, match="the last part"):
        threads.share(fail, 8)


def filtered_in_a_child(queue: Any) -> None:
    queue.put(Gaussian(11)(picture(8, 64, 64)))


def test_a_fork_after_threads_were_used() -> None:
    expected = Gaussian(11)(picture(8, 64, 64))  # starts the threads
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=filtered_in_a_child, args=(queue,))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join(timeout=60)
    assert child.exitcode == 0


# --- what goes in and out -----------------------------------------------------------------------


@pytest.mark.parametrize(("f", "method"), EVERY)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0, 0), (1, 63, 69), (1, 20, 35)])
def test_what_is_not_finite_is_found(f: Filter, method: str, bad: float, at: tuple[int, ...]) -> None:
    x = picture(2, 64, 70)
    x[at] = bad
    with pytest.raises(InputError, match="1 of 8960 values"):
        f(x)


def test_a_result_that_is_too_large_is_given_as_it_is() -> None:
    x = np.full((4, 5), 3e38, np.float32)
    assert np.isinf((4 * Gaussian(3))(x)).all()


@pytest.mark.parametrize(("f", "method"), EVERY[:-1])
@pytest.mark.parametrize("shape", [(8, 3, 224, 224), (1, 1, 700, 700)])
def test_no_image_is_allocated_with_out(f: Filter, method: str, shape: tuple[int, ...]) -> None:
    if method == "spectral" and shape[0] == 1:
        pytest.skip("a single large plane goes through SciPy's transforms, which allocate it")
    x = picture(*shape)
    out = np.empty_like(x)
    with numba_threads(1):
        f(x, out=out)
        tracemalloc.start()
        f(x, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 16


def test_read_only_input_needs_no_other_kernel() -> None:
    from sobolevflow.kernels import convolution

    f, x = Sobolev(11), picture(2, 30, 30)
    expected = f(x)
    before = len(convolution.convolve.signatures)  # type: ignore[attr-defined]
    x.flags.writeable = False
    np.testing.assert_array_equal(f(x), expected)
    assert len(convolution.convolve.signatures) == before  # type: ignore[attr-defined]
