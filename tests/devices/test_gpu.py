"""Filters and total variation on a CUDA device against the same on the host: `make test-gpu`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from sobolevflow import Bilateral, PeronaMalik, total_variation
from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct
from sobolevflow.proximal import Box, GeneralisedVariation, Sum, TotalVariation
from tests.support.filter_oracles import BOUNDARIES, assert_as_planned, random_image

pytestmark = pytest.mark.gpu

picture = functools.partial(random_image, 0, dtype=np.float32)

SHAPES = [(1, 1), (1, 300), (300, 1), (2, 3, 37, 41), (3, 224, 224), (118, 129), (1, 513, 700)]


@pytest.fixture
def torch(cupy: Any) -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a build of PyTorch with CUDA")
    return torch


def families(boundary: Any) -> list[Filter]:
    return [
        Gaussian(3, boundary=boundary),
        Gaussian(11, boundary=boundary),
        Gaussian(49, 7.0, boundary=boundary),
        Gaussian(sigma=9.0, boundary=boundary),
        Sobolev(11, boundary=boundary),
        Sobolev(21, boundary=boundary),
        Sobolev(49, 8.0, boundary=boundary, method="dense"),
        Sobolev(gamma=4.0, boundary=boundary),
        Sobolev(gamma=(40.0, 0.1), order=0.7, boundary=boundary),
        SobolevProduct(gamma=4.0, boundary=boundary),
        SobolevProduct(gamma=(400.0, 0.1), order=2, boundary=boundary),
        Sobolev(gamma=1.0, boundary=boundary) @ Gaussian(5, boundary=boundary),
        2 * Identity() - Sobolev(gamma=1.0, boundary=boundary),
    ]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_filter_is_that_of_the_host(
    cupy: Any, shape: tuple[int, ...], boundary: Any, dtype: Any
) -> None:
    x = picture(*shape, dtype=dtype)
    on_device = cupy.asarray(x)
    for f in families(boundary):
        y = f(on_device)
        assert isinstance(y, cupy.ndarray)
        assert_as_planned(f, x, cupy.asnumpy(y))
        out = cupy.full_like(on_device, np.nan)
        assert f(on_device, out=out) is out
        np.testing.assert_array_equal(cupy.asnumpy(out), cupy.asnumpy(y))
        if len(shape) > 2:
            last = cupy.ascontiguousarray(cupy.moveaxis(on_device, -3, -1))
            found = f(last, channel_axis=-1)
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(cupy.asnumpy(cupy.moveaxis(found, -1, -3)), cupy.asnumpy(y))


def test_more_planes_than_a_launch_has(cupy: Any) -> None:
    x = picture(70_000, 3, 5)
    for f in (Gaussian(5), SobolevProduct(gamma=4.0)):
        assert_as_planned(f, x, cupy.asnumpy(f(cupy.asarray(x))))


def test_strides_and_overlap(cupy: Any) -> None:
    f, x = Gaussian(11), picture(4, 50, 61)
    on_device = cupy.asarray(x)
    assert_as_planned(f, x[:, ::2, ::-1], cupy.asnumpy(f(on_device[:, ::2, ::-1])))
    wide = cupy.full((4, 50, 122), np.nan, np.float32)
    f(on_device, out=wide[..., ::2])
    assert_as_planned(f, x, cupy.asnumpy(wide[..., ::2]))
    f(on_device, out=on_device)
    assert_as_planned(f, x, cupy.asnumpy(on_device))


def test_work_is_queued_on_the_current_stream(cupy: Any) -> None:
    x = picture(64, 224, 224)
    source = cupy.zeros(x.shape, np.float32)
    values = cupy.asarray(x)
    cupy.cuda.Device().synchronize()
    for f in (Gaussian(11), Sobolev(11), Sobolev(gamma=4.0), SobolevProduct(gamma=4.0)):
        source[...] = 0
        cupy.cuda.Device().synchronize()
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            for _ in range(20):  # the filter would overtake these, were it on another stream
                source[...] = cupy.sin(values) * 0 + values
            y = f(source)
        stream.synchronize()
        assert_as_planned(f, x, cupy.asnumpy(y))


@pytest.mark.parametrize("f", [Gaussian(11), Sobolev(11), Sobolev(21), SobolevProduct(gamma=4.0)])
def test_a_graph_replays_a_filter_on_new_values(cupy: Any, f: Filter) -> None:
    x, out = cupy.zeros((8, 3, 64, 65), np.float32), cupy.zeros((8, 3, 64, 65), np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        f(x, out=out)
        stream.synchronize()
        stream.begin_capture()
        f(x, out=out)
        graph = stream.end_capture()
    for seed in (1, 2):
        values = np.random.default_rng(seed).standard_normal(x.shape).astype(np.float32)
        with stream:
            x.set(values)
            graph.launch(stream)
        stream.synchronize()
        assert_as_planned(f, values, cupy.asnumpy(out))


def test_tensors_of_pytorch_stay_there_and_in_order(torch: Any) -> None:
    x = picture(16, 224, 224)
    f = Sobolev(11)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        source = torch.zeros(x.shape, device="cuda")
        for _ in range(20):
            source.copy_(torch.from_numpy(x).cuda().sin() * 0 + torch.from_numpy(x).cuda())
        y = f(source)
        out = torch.full_like(source, torch.nan)
        f(source, out=out)
        doubled = 2 * out
    stream.synchronize()
    assert y.is_cuda
    assert_as_planned(f, x, y.cpu().numpy())
    assert_as_planned(f, x, (doubled / 2).cpu().numpy())


def test_a_graph_of_pytorch_captures_a_filter(torch: Any) -> None:
    f = Gaussian(11)
    x = torch.zeros((3, 64, 64), device="cuda")
    out = torch.zeros_like(x)
    f(x, out=out)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        f(x, out=out)
    values = picture(3, 64, 64)
    x.copy_(torch.from_numpy(values))
    graph.replay()
    torch.cuda.synchronize()
    assert_as_planned(f, values, out.cpu().numpy())


def test_values_are_not_looked_at(cupy: Any) -> None:
    x = cupy.zeros((20, 20), np.float32)
    x[10, 10] = np.nan
    y = cupy.asnumpy(Gaussian(5)(x))
    assert np.isnan(y[10, 10])
    assert y[0, 0] == 0


# --- total variation ----------------------------------------------------------------------------

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"variation": "anisotropic"},
    {"huber": 0.1},
    {"variation": "anisotropic", "huber": 0.05, "algorithm": "accelerated"},
    {"algorithm": "accelerated"},
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "axis"), [((1, 1), None), ((1, 300), None), ((2, 3, 37, 41), 1), ((3, 224, 224), None)]
)
def test_total_variation_is_that_of_the_host(
    cupy: Any, shape: tuple[int, ...], axis: int | None, kind: dict[str, Any], dtype: Any
) -> None:
    f = picture(*shape, dtype=dtype)
    options = {**kind, "channel_axis": axis, "max_iterations": 30, "tol": 1e-12}
    found = total_variation.prox(cupy.asarray(f), 0.2, **options)
    expected = total_variation.prox(f, 0.2, **options)
    assert isinstance(found.u, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(found.u), expected.u, atol=200 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(found.iterations, expected.iterations)


def test_images_stop_one_by_one_and_start_warm(cupy: Any) -> None:
    f = cupy.asarray(np.random.default_rng(1).random((4, 96, 80), np.float32))
    weight = [0.02, 0.1, 0.5, 0.0]
    found = total_variation.prox(f, weight)
    assert found.converged.all()
    assert len({*found.iterations}) == 4
    again = total_variation.prox(f, weight, state=found.state)
    np.testing.assert_array_equal(again.iterations, 0)
    drifted = total_variation.prox(f + np.float32(1e-3), weight, state=found.state)
    assert (drifted.iterations <= found.iterations).all()


def test_the_prox_is_queued_on_the_current_stream(cupy: Any) -> None:
    f = np.random.default_rng(2).random((512, 512), np.float32)
    expected = total_variation.prox(f, 0.1, max_iterations=10, tol=1e-12).u
    with cupy.cuda.Stream(non_blocking=True):
        late = cupy.asarray(f)
        late += 1
        late -= 1
        found = total_variation.prox(late, 0.1, max_iterations=10, tol=1e-12).u
        np.testing.assert_allclose(cupy.asnumpy(found), expected, atol=1e-4)


def test_other_operators_are_those_of_the_host(cupy: Any) -> None:
    f = np.random.default_rng(3).random((2, 3, 40, 50), np.float32)
    on_device = cupy.asarray(f)
    for operator in (
        Bilateral(1.0, 0.2),
        PeronaMalik(0.2, 1.0, "rational"),
        Box(0.2, 0.7),
        Sum((TotalVariation(0.05, tol=1e-5), Sobolev(gamma=0.5), Box())),
        GeneralisedVariation(0.1, tol=1e-4),
    ):
        found: Any = operator(on_device, channel_axis=1)
        expected = operator(f, channel_axis=1)
        np.testing.assert_allclose(cupy.asnumpy(found), expected, atol=2e-3)
        last = operator(cupy.ascontiguousarray(cupy.moveaxis(on_device, 1, -1)), channel_axis=-1)
        np.testing.assert_allclose(np.moveaxis(cupy.asnumpy(last), -1, 1), expected, atol=2e-3)
    for function in (total_variation.value, total_variation.gradient):
        found = function(on_device)
        np.testing.assert_allclose(cupy.asnumpy(found), function(f), rtol=1e-4, atol=1e-5)
    u = total_variation.constrained(on_device, 1.0).u
    np.testing.assert_allclose(cupy.asnumpy(u), total_variation.constrained(f, 1.0).u, atol=1e-2)
