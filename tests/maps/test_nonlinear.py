"""The bilateral filter and Perona and Malik's diffusion: by hand, limits, symmetries, errors."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

import sobolevflow as sf
from sobolevflow import Bilateral, PeronaMalik
from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.filters import Gaussian
from sobolevflow.kernels import decay, threads
from tests.support.tv_oracles import random_image

Image = NDArray[Any]

OPERATORS: tuple[Any, ...] = (
    Bilateral(),
    Bilateral(1.0, 0.3, 3, coupled=False),
    Bilateral(0.7, 0.02, 9),
    PeronaMalik(),
    PeronaMalik(0.2, 1.1, "rational"),
    PeronaMalik(0.02, 0.5, coupled=False),
)
operators = st.sampled_from(OPERATORS)
sides = st.integers(1, 12)
seeds = st.integers(0, 2**32 - 1)


# --- by hand ------------------------------------------------------------------------------------


def bilateral_by_hand(x: Image, f: Bilateral) -> Image:
    """The formula, a pixel at a time, for one image (C, H, W) of coupled channels."""
    r, (_, h, w) = f.radius, x.shape
    padded = np.pad(x, ((0, 0), (r, r), (r, r)), mode="symmetric")
    out = np.empty_like(x)
    for i, j in np.ndindex(h, w):
        sums, weights = np.zeros(len(x)), 0.0
        for dy in range(-r, r + 1):
            for dx in range(-r, r + 1):
                there = padded[:, i + r + dy, j + r + dx]
                distance = ((there - x[:, i, j]) ** 2).sum()
                weight = math.exp(-(dy * dy + dx * dx) / (2 * f.sigma**2) - distance / (2 * f.sigma_range**2))
                sums, weights = sums + weight * there, weights + weight
        out[:, i, j] = sums / weights
    return out


@pytest.mark.parametrize("f", [Bilateral(), Bilateral(2.0, 0.2, 5), Bilateral(0.5, 1.0, 1)], ids=repr)
def test_the_bilateral_filter_by_hand(f: Bilateral) -> None:
    x = random_image(0, 3, 9, 7)
    np.testing.assert_allclose(f(x, channel_axis=0), bilateral_by_hand(x, f), atol=1e-12)
    single = f(x.astype(np.float32), channel_axis=0)
    np.testing.assert_allclose(single, bilateral_by_hand(x, f), atol=5e-6)
    alone = np.stack([bilateral_by_hand(c[None], f)[0] for c in x])
    uncoupled = Bilateral(f.sigma, f.sigma_range, f.size, coupled=False)
    np.testing.assert_allclose(uncoupled(x, channel_axis=0), alone, atol=1e-12)


def perona_malik_by_hand(x: Image, f: PeronaMalik) -> Image:
    """The flow over every edge between two pixels, one edge at a time, for one image (C, H, W)."""
    _, h, w = x.shape
    for _ in range(f.steps):
        change = np.zeros_like(x)
        for i, j in np.ndindex(h, w):
            for a, b in ((i + 1, j), (i, j + 1)):
                if a < h and b < w:
                    s = x[:, a, b] - x[:, i, j]
                    t = (s @ s) / f.kappa**2
                    flow = (math.exp(-t) if f.conduction == "exponential" else 1 / (1 + t)) * s
                    change[:, i, j] += flow
                    change[:, a, b] -= flow
        x = x + f.time / f.steps * change
    return x


@pytest.mark.parametrize("f", [PeronaMalik(), PeronaMalik(0.3, 1.7, "rational")], ids=repr)
def test_the_diffusion_by_hand(f: PeronaMalik) -> None:
    x = random_image(1, 3, 8, 6)
    np.testing.assert_allclose(f(x, channel_axis=0), perona_malik_by_hand(x, f), atol=1e-12)
    single = f(x.astype(np.float32), channel_axis=0)
    np.testing.assert_allclose(single, perona_malik_by_hand(x, f), atol=2e-5)
    alone = np.stack([perona_malik_by_hand(c[None], f)[0] for c in x])
    uncoupled = PeronaMalik(f.kappa, f.time, f.conduction, coupled=False)
    np.testing.assert_allclose(uncoupled(x, channel_axis=0), alone, atol=1e-12)


@given(operators, st.integers(1, 3), st.integers(1, 3), sides, sides, seeds)
@settings(max_examples=40, deadline=None)
def test_the_kernels_are_the_reference(f: Any, n: int, c: int, h: int, w: int, seed: int) -> None:
    x = random_image(seed, n, c, h, w)
    stack = x if f.coupled else x.reshape(n * c, 1, h, w)
    np.testing.assert_allclose(f(x, channel_axis=1), f.reference(stack).reshape(x.shape), atol=1e-12)
    found = f(x.astype(np.float32), channel_axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, f.reference(stack).reshape(x.shape), atol=3e-5)


# --- limits -------------------------------------------------------------------------------------


def test_without_regard_to_values_the_bilateral_filter_is_a_gaussian() -> None:
    x = random_image(2, 2, 20, 21)
    smooth = Bilateral(1.2, 1e6, 9)(x, channel_axis=0)
    np.testing.assert_allclose(smooth, Gaussian(size=9, sigma=1.2)(x), atol=1e-6)


def test_with_the_strictest_regard_it_is_the_identity() -> None:
    x = random_image(3, 2, 15, 16)
    np.testing.assert_allclose(Bilateral(1.5, 1e-6)(x, channel_axis=0), x, atol=1e-9)


def test_without_edges_the_diffusion_is_a_gaussian() -> None:
    x = np.zeros((41, 41))
    x[20, 20] = 1
    found = PeronaMalik(kappa=1e6, time=4.0)(x)
    np.testing.assert_allclose(found, Gaussian(sigma=math.sqrt(8))(x), atol=1e-3)
    at = np.arange(-20, 21)
    assert found.sum() == pytest.approx(1)
    assert (found.sum(axis=0) * at**2).sum() == pytest.approx(8, rel=1e-4)


def test_edges_stay_and_noise_goes() -> None:
    step = np.where(np.arange(40) < 20, 0.2, 0.8) * np.ones((40, 1))
    x = step + np.random.default_rng(4).normal(0, 0.02, step.shape)
    for f in (Bilateral(), PeronaMalik(0.1, 4.0), PeronaMalik(0.1, 4.0, "rational")):
        y = f(x)
        assert np.abs(y - step).mean() < 0.5 * np.abs(x - step).mean()
        assert (y[:, 20] - y[:, 19]).min() > 0.5
    assert np.abs(np.diff(Gaussian(sigma=1.5)(x), axis=1)).max() < 0.3  # which a linear filter would not do


def test_no_time_changes_nothing() -> None:
    x = random_image(5, 6, 7)
    np.testing.assert_array_equal(PeronaMalik(time=0)(x), x)
    assert PeronaMalik(time=0).steps == 0
    assert PeronaMalik(time=2.01).steps == 11


# --- symmetries ---------------------------------------------------------------------------------


@given(operators, sides, sides, seeds, st.floats(-3, 3))
@settings(max_examples=30, deadline=None)
def test_symmetries(K: Any, h: int, w: int, seed: int, shift: float) -> None:
    f = functools.partial(K, channel_axis=0)
    x = random_image(seed, 3, h, w)
    y = f(x)
    np.testing.assert_allclose(f(x + shift), y + shift, atol=1e-10)
    np.testing.assert_allclose(f(-x), -y, atol=1e-12)
    np.testing.assert_allclose(f(x[:, ::-1]), y[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(f(x[:, :, ::-1]), y[:, :, ::-1], atol=1e-12)
    np.testing.assert_allclose(f(np.swapaxes(x, 1, 2)), np.swapaxes(y, 1, 2), atol=1e-12)
    np.testing.assert_allclose(f(np.full_like(x, shift)), shift, atol=1e-12)
    assert y.min() >= x.min() - 1e-12  # neither leaves the range of values
    assert y.max() <= x.max() + 1e-12


@given(sides, sides, seeds, st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_values_scale_with_what_they_are_compared_with(h: int, w: int, seed: int, c: float) -> None:
    x = random_image(seed, h, w)
    for f, scaled in (
        (Bilateral(1.0, 0.2), Bilateral(1.0, 0.2 * c)),
        (PeronaMalik(0.1), PeronaMalik(0.1 * c)),
    ):
        np.testing.assert_allclose(scaled(c * x), c * f(x), rtol=1e-9, atol=1e-12)


@given(sides, sides, seeds)
@settings(max_examples=20, deadline=None)
def test_diffusion_keeps_the_mean(h: int, w: int, seed: int) -> None:
    x = random_image(seed, 2, h, w)
    y = PeronaMalik(0.2, 3)(x, channel_axis=0)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), x.mean(axis=(1, 2)), atol=1e-12)


@pytest.mark.parametrize("K", OPERATORS, ids=repr)
def test_a_batch_is_its_images_one_by_one(K: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    f = functools.partial(K, channel_axis=-3)
    x = random_image(6, 2, 3, 3, 40, 9).astype(np.float32)
    y = f(x)
    assert y.shape == x.shape
    for index in np.ndindex(x.shape[:2]):
        np.testing.assert_array_equal(f(x[index]), y[index])
    before = x.copy()
    for count in (1, 3):
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        np.testing.assert_array_equal(f(x), y)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(f(x[..., ::-1, :]), f(np.ascontiguousarray(x[..., ::-1, :])))
    np.testing.assert_array_equal(K(x[0, 0, 0]), f(x[:1, :1, :1])[0, 0, 0])


# --- inputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [Bilateral(), PeronaMalik()], ids=repr)
@pytest.mark.parametrize("library", ["jax", "array_api_strict", "torch"])
def test_arrays_of_other_libraries(f: Any, library: str) -> None:
    reason = {"torch": "needs PyTorch: make libraries"}.get(library, f"needs {library}, of the extra test")
    pytest.importorskip(library, reason=reason)
    a = random_image(7, 3, 9, 8).astype(np.float32)
    if library == "torch":
        import torch

        y: Any = f(torch.tensor(a), channel_axis=0)
        assert isinstance(y, torch.Tensor)
    elif library == "jax":
        import jax

        y = f(jax.device_put(a.copy()), channel_axis=0)
        assert isinstance(y, jax.Array)
    else:
        import array_api_strict as xp

        y = f(xp.asarray(a, copy=True), channel_axis=0)
        assert isinstance(y, type(xp.asarray(a)))
    np.testing.assert_array_equal(np.from_dlpack(y), f(a, channel_axis=0))


@pytest.mark.parametrize("f", [Bilateral(), PeronaMalik()], ids=repr)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 4), np.uint8), "dtype uint8"),
        (np.zeros(4), "at least the two axes"),
        (np.zeros((0, 4)), "empty"),
        (np.full((4, 4), np.nan), "NaN"),
        ([["red"]], "list"),
    ],
)
def test_bad_images(f: Any, x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        f(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bilateral(0), "sigma"),
        (lambda: Bilateral(1, -1), "sigma_range"),
        (lambda: Bilateral(math.inf), "sigma"),
        (lambda: Bilateral(1, 1, 4), "odd"),
        (lambda: Bilateral(1, 1, 0), "size is 0; .* at least 1"),
        (lambda: PeronaMalik(0), "kappa"),
        (lambda: PeronaMalik(math.nan), "kappa"),
        (lambda: PeronaMalik(1, -1), "time"),
        (lambda: PeronaMalik(1, math.inf), "time"),
    ],
)
def test_bad_parameters(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_misspelt_conduction() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'rational'"):
        PeronaMalik(conduction="rationel")  # type: ignore[arg-type]


def test_a_visualization_runs_with_each() -> None:
    net = sf.load("builtin:shapes-vgg")
    options: dict[str, Any] = {"seed": 0, "clip": False, "progress": False}
    moved = sf.visualize(net, sf.Class(0), scheme=sf.gradient_descent(), steps=1, **options).u
    for K in OPERATORS[::3]:
        one = sf.visualize(net, sf.Class(0), scheme=sf.elastic(K), steps=1, **options).u
        np.testing.assert_allclose(one, K(moved, channel_axis=1), atol=1e-6)
        assert np.abs(one - moved).max() > 1e-4
        more = sf.visualize(net, sf.Class(0), scheme=sf.elastic(K), steps=3, **options)
        assert more.value is not None
        assert more.history.value[0, 0] < more.value[0]  # the class is seen better, whatever K takes away


# --- exp(-t) ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "function", "end", "bound"),
    [(np.float32, decay.decay, 24, 6e-6), (np.float64, decay.decay_double, 40, 1e-12)],
)
def test_decay_is_as_accurate_as_it_says(dtype: Any, function: Any, end: float, bound: float) -> None:
    c = decay.coefficients(dtype)
    t = np.linspace(0, end, 20_001).astype(dtype)
    found = np.array([function(s, c) for s in t], np.float64)
    np.testing.assert_allclose(found, np.exp(-t.astype(np.float64)), rtol=bound)
    assert function(dtype(0), c) == 1
    beyond = function(dtype(1e6), c)
    assert 0 < beyond < 1.01 * math.exp(-end)
