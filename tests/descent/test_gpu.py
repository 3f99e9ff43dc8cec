"""Gradients and descents on a CUDA device against the same on the host: `make test-gpu`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.arrays.places import to_host
from sobolevflow.devices.memory import memory_of
from sobolevflow.errors import DeviceError, DeviceMemoryError
from sobolevflow.gradient.check import check_gradient
from sobolevflow.gradient.engine import Engine
from sobolevflow.gradient.trial import examine
from tests.support.gradient_cases import close

pytestmark = pytest.mark.gpu

BUNDLED = ("builtin:shapes-vgg", "builtin:shapes-dense")
CUDA = sf.Device("cuda")


@pytest.fixture(scope="module")
def cupy(cupy: Any) -> Any:
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    return cupy


@functools.cache
def network(name: str = BUNDLED[0]) -> sf.Network:
    return sf.load(name)


def images(net: sf.Network, count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *net.input_shape), np.float32)


def objectives(net: sf.Network) -> list[Any]:
    layers = [layer.name for layer in net.layers if layer.shape is not None and len(layer.shape) == 4]
    middle = layers[len(layers) // 2]
    return [
        sf.Class([1, 4]),
        sf.Channel(middle, 2),
        sf.Layer(middle),
        sf.Inversion(middle, images(net, 2, seed=9)),
    ]


@pytest.mark.parametrize("name", BUNDLED)
def test_gradients_are_those_of_the_host(cupy: Any, name: str) -> None:
    net = network(name)
    u = images(net, 2)
    for objective in objectives(net):
        values, g = sf.value_and_grad(net, objective, device=CUDA)(cupy.asarray(u))
        assert isinstance(g, cupy.ndarray)
        expected_values, expected = sf.value_and_grad(net, objective)(u)
        close(cupy.asnumpy(values), expected_values, 1e-4)
        close(cupy.asnumpy(g), expected, 1e-3)


def test_a_gradient_is_replayed_on_new_images(cupy: Any) -> None:
    net = network()
    engine = Engine(net, sf.Class(1), device=CUDA)
    reference = Engine(net, sf.Class(1))
    for seed in range(6):  # two to warm up, one that captures, and replays
        u = images(net, seed=seed)
        values, g = engine(cupy.asarray(u))
        expected_values, expected = reference(u)
        close(to_host(values), expected_values, 1e-4)
        close(to_host(g), expected, 1e-3)


def test_engines_of_one_session_have_graphs_of_their_own(cupy: Any) -> None:
    net, u = network(), images(network())
    engines = [Engine(net, sf.Class(k), device=CUDA) for k in (1, 5)]
    for _ in range(5):
        found = [to_host(engine(cupy.asarray(u))[0]).copy() for engine in engines]
    for k, value in zip((1, 5), found, strict=True):
        close(value, Engine(net, sf.Class(k))(u)[0], 1e-4)


def test_an_image_that_is_still_being_computed_is_waited_for(cupy: Any) -> None:
    net = network()
    grad = sf.value_and_grad(net, sf.Class(1), device=CUDA)
    u = images(net)
    expected = sf.value_and_grad(net, sf.Class(1))(u)[1]
    grad(cupy.asarray(u))
    values = cupy.asarray(u)
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        late = cupy.zeros_like(values)
        for _ in range(200):  # the network would overtake these, were it not ordered
            late[...] = cupy.sin(values) * 0 + values
        g = grad(late)[1]
        doubled = 2 * g
    stream.synchronize()
    close(cupy.asnumpy(g), expected, 1e-3)
    close(cupy.asnumpy(doubled), 2 * expected, 1e-3)


@pytest.mark.parametrize("name", BUNDLED)
def test_the_gradient_against_differences(cupy: Any, name: str) -> None:
    assert check_gradient(network(name), sf.Class(3), device=CUDA) < 1e-3


def test_precisions(cupy: Any) -> None:
    net, u = network(), images(network(), 2)
    expected = sf.value_and_grad(net, sf.Class(1))(u)[1]
    for device, error in (
        (sf.Device("cuda", tf32=True), 0.1),
        (sf.Device("cuda", precision="float16"), 0.3),
        (sf.Device("cuda", search="exhaustive"), 1e-3),
        (sf.Device("cuda", graphs=False), 1e-3),
    ):
        close(sf.value_and_grad(net, sf.Class(1), device=device)(u)[1], expected, error)


DESCENTS: dict[str, dict[str, Any]] = {
    "the default": {},
    "fluid": {"scheme": sf.fluid(sf.filters.Sobolev(size=11))},
    "elastic": {"scheme": sf.elastic(sf.filters.Gaussian(size=11)), "jitter": 0},
    "fluid-elastic": {"scheme": sf.fluid_elastic(sf.filters.Sobolev(size=11))},
    "exact": {"scheme": sf.fluid(sf.filters.Sobolev(gamma=100.0)), "optimizer": "momentum", "tau": 0.01},
    "octaves": {"scheme": sf.fluid(sf.filters.Sobolev(size=11)), "octaves": 2},
    "canvas": {"scheme": sf.fluid(sf.filters.Sobolev(size=11)), "canvas": (120, 130)},
    "adam": {"scheme": sf.fluid(sf.filters.Sobolev(size=11)), "optimizer": "adam", "tau": 0.01},
    "pyramid": {"scheme": sf.fluid(sf.Multiscale())},
    "total variation": {"scheme": sf.proximal_tv(0.01)},
    "fourier": {"parametrization": sf.Fourier()},
    "phase": {"parametrization": sf.Phase()},
}


@pytest.mark.parametrize("name", DESCENTS)
def test_a_descent_is_that_of_the_host(cupy: Any, name: str) -> None:
    net = network()
    given = {"steps": 10, "progress": False, "seed": 3, **DESCENTS[name]}
    expected = sf.visualize(net, sf.Class([1, 4]), **given)
    found = sf.visualize(net, sf.Class([1, 4]), device=CUDA, **given)
    # where a rectifier is at its kink, float32 takes one side here and the other there
    assert np.abs(found.u - expected.u).mean() < 2e-3
    close(found.history.value[:3], expected.history.value[:3], 1e-2)
    assert not [note for note in found.notes if "CUDA graph" in note]


def test_the_same_seed_gives_the_same_bytes(cupy: Any) -> None:
    given: dict[str, Any] = {"steps": 12, "device": CUDA, "progress": False}
    # pooling windows that do not overlap: nothing is added up in an order that varies
    a, b = (sf.visualize(network(), sf.Class(1), **given) for _ in range(2))
    np.testing.assert_array_equal(a.u, b.u)


def test_a_callback_and_autosave(cupy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sobolevflow.descent.autosave.SECONDS", 0.0)
    seen = []
    path = tmp_path / "so far.png"
    sf.visualize(
        network(),
        sf.Class(1),
        steps=5,
        device=CUDA,
        progress=False,
        autosave=path,
        callback=lambda info: seen.append((info.step, float(cupy.asnumpy(info.u).mean()))),
    )
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5]
    assert path.exists()


def test_memory_that_is_used_up(cupy: Any) -> None:
    device = sf.Device("cuda", options={"gpu_mem_limit": "1000000"})
    with pytest.raises(DeviceMemoryError, match="used up"):
        Engine(network(), sf.Class(1), device=device)(images(network()))


def test_a_large_batch_goes_through_in_parts(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net, objective = network(), sf.Class([1, 2, 3, 4, 5])
    monkeypatch.setattr(type(memory_of(CUDA)), "free", lambda self: 40_000_000)
    engine = Engine(net, objective, batch=5, device=sf.Device("cuda", graphs=False))
    u = images(net, 5)
    if engine.at_once == 5:
        pytest.skip("the network is too small to be divided")
    close(to_host(engine(cupy.asarray(u))[1]), Engine(net, objective, batch=5)(u)[1], 1e-3)


def test_a_device_that_is_not_there(cupy: Any) -> None:
    with pytest.raises(DeviceError, match="no such device"):
        Engine(network(), sf.Class(1), device="cuda:99")


def test_the_doctor_finds_nothing(cupy: Any) -> None:
    assert [f.subject for f in examine(CUDA) if f.state == "trouble"] == []


def test_several_devices(cupy: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("needs two NVIDIA GPUs")
    given: dict[str, Any] = {"steps": 4, "progress": False}
    expected = sf.visualize(network(), sf.Class([1, 2, 3]), device=CUDA, **given)
    found = sf.visualize(network(), sf.Class([1, 2, 3]), device="cuda:0,cuda:1", **given)
    assert np.abs(found.u - expected.u).mean() < 2e-3
