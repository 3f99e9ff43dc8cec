"""The whole way of a descent on a CUDA device, without one: engine, views, steps, graphs, failures.

Run by tests/kernels/test_cuda.py in a process of its own, in which NUMBA_ENABLE_CUDASIM is set: kernels
run in Numba's simulator, CuPy's arrays are NumPy's (`cupy_on_numpy`), onnxruntime's CUDA provider is its CPU
(`onnxruntime_on_host`). What comes out is compared with the same on the host.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.arrays.places import to_host
from sobolevflow.descent import execution as execution_module, log as log_module, loop as loop_module
from sobolevflow.descent.autosave import Autosave
from sobolevflow.devices.memory import memory_of
from sobolevflow.errors import DeviceError, DeviceMemoryError, GradientError, InputError
from sobolevflow.filters import Gaussian, Sobolev
from sobolevflow.gradient.check import check_gradient
from sobolevflow.gradient.engine import Engine
from sobolevflow.kernels.cuda import (
    convolution as convolution_cuda,
    total_variation as total_variation_cuda,
    view as view_cuda,
)
from sobolevflow.transforms.cuda import DeviceView
from sobolevflow.transforms.views import RandomView
from sobolevflow.transforms.warp import Turn, Warp
from tests.support import cupy_on_numpy, onnxruntime_on_host
from tests.support.at_once import at_once
from tests.support.gradient_cases import close, make_model
from tests.support.onnxruntime_on_host import InferenceSession
from tests.support.paths import BENCH
from tests.support.small_networks import SIZE, images, small_model

CUDA = sf.Device("cuda")
EXACT = Sobolev(gamma=4.0)
AS_WRITTEN = {"session.disable_quant_qdq": "1"}  # what every session is told of quantised networks


@pytest.fixture(autouse=True)
def _device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins, and few threads: the simulator has one of Python for each."""
    onnxruntime_on_host.install(monkeypatch)
    monkeypatch.setattr(view_cuda, "_THREADS", 16)
    monkeypatch.setattr(view_cuda, "_MOST_BLOCKS", 1)
    cupy_on_numpy.few_threads(monkeypatch)
    cupy_on_numpy.capture(monkeypatch, view_cuda, total_variation_cuda, convolution_cuda)
    cupy_on_numpy.Stream.captured.clear()
    cupy_on_numpy.Stream.waits.clear()


@pytest.fixture
def net() -> sf.Network:
    return sf.load(small_model(), preprocess="torch")


def on_device(x: Any) -> Any:
    return cupy_on_numpy.ndarray(np.array(x))


def computed(engine: Engine, u: Any) -> Any:
    """Value and gradient at images of the host, in the memory of the device."""
    return engine(on_device(u))


# --- views --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view",
    [
        RandomView((5, 7), (5, 7), jitter=2),
        RandomView((7, 8), (5, 6), jitter=2),
        RandomView((7, 6), (5, 6), jitter=2, distribution="normal"),
        RandomView((6, 8), (5, 6), jitter=1, rotate=20.0, zoom=0.3),
        RandomView((3, 7), (3, 7), rotate=180.0, zoom=1.0),
        RandomView((1, 4), (1, 4), rotate=45.0),
    ],
    ids=str,
)
def test_a_view_on_the_device_is_that_of_the_host(view: RandomView) -> None:
    rng = np.random.default_rng(1)
    u = rng.random((2, 3, *view.canvas)).astype(np.float32)
    g = rng.standard_normal((2, 3, *view.window)).astype(np.float32)
    here, there = ([np.random.default_rng(k) for k in (3, 4)] for _ in range(2))
    image: Any = cupy_on_numpy.empty((2, 3, *view.window), np.float32)
    moved = DeviceView(view, image, memory_of(CUDA))
    for _ in range(2):
        expected, found = view.draw(here), moved.draw(there)
        assert found is moved
        shown: Any = found.apply(on_device(u))
        assert shown is image
        np.testing.assert_allclose(image.memory, expected.apply(u), atol=1e-6)
        back: Any = found.adjoint(on_device(g))
        np.testing.assert_allclose(back.memory, expected.adjoint(g), atol=3e-6)


@pytest.mark.parametrize("size", [(4, 5), (1, 3)])
def test_a_turn_of_an_array_of_the_device(size: tuple[int, int]) -> None:
    turn = Warp(size, 30.0, 0.5).draw([np.random.default_rng(k) for k in range(2)])
    assert isinstance(turn, Turn)
    u = images(2, size=(3, *size))
    for each in (turn.apply, turn.adjoint):
        moved: Any = each(on_device(u))
        close(moved.memory, each(u), 1e-5)


# --- the engine ---------------------------------------------------------------------------------


def test_value_and_gradient_are_those_of_the_host_and_stay_on_the_device(net: sf.Network) -> None:
    u = images(2)
    for objective in (sf.Class([1, 4]), sf.Inversion("conv2", images(2, seed=9)), sf.Layer("conv1")):
        values, g = sf.value_and_grad(net, objective, device="cuda")(on_device(u))
        assert type(values).__module__ == type(g).__module__ == "cupy"
        expected = sf.value_and_grad(net, objective)(u)
        close(values.memory, expected[0], 1e-6)
        close(g.memory, expected[1], 1e-6)
        again, of_host = sf.value_and_grad(net, objective, device="cuda")(u)
        assert isinstance(of_host, np.ndarray)
        np.testing.assert_array_equal(of_host, g.memory)
        np.testing.assert_array_equal(again, values.memory)
    one = sf.value_and_grad(net, sf.Class(1), device="cuda")(on_device(u)[0])[1]
    assert one.shape == SIZE
    back = sf.value_and_grad(net, sf.Class(1))(on_device(u))[1]
    assert type(back).__module__ == "cupy"


def test_onnxruntime_is_told_of_the_device_and_of_the_stream(net: sf.Network) -> None:
    a, b = (Engine(net, sf.Class(k), batch=2, device=CUDA) for k in (0, 5))
    for engine in (a, b, a):
        engine(on_device(images(2)))
    (made,) = [s for s in InferenceSession.made if s.provider == "CUDAExecutionProvider"]
    assert made.options == {
        "device_id": "0",
        "use_tf32": "0",
        "enable_cuda_graph": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "user_compute_stream": str(memory_of(CUDA).stream),
    }
    assert made.entries == AS_WRITTEN | {"session.disable_cpu_ep_fallback": "1"}
    # nothing is waited for, and each engine has a graph of its own, since a graph knows addresses
    numbers = [entries["gpu_graph_id"] for entries in made.run_entries]
    assert numbers[0] == numbers[2] != numbers[1]
    assert {e["disable_synchronize_execution_providers"] for e in made.run_entries} == {"1"}
    del a, engine
    gc.collect()
    assert made.released == []  # not while another may run
    b(on_device(images(2)))
    assert made.released == [int(numbers[0])]


def test_threads_share_a_gradient_on_the_device(net: sf.Network) -> None:
    function = sf.value_and_grad(net, sf.Class(1), device="cuda")
    given = [images(1, seed=k) for k in range(4)]
    expected = [function(u)[1] for u in given]

    def work(first: int) -> list[bool]:
        order = [(first + k) % 4 for k in range(40)]
        return [bool(np.array_equal(function(given[k])[1], expected[k])) for k in order]

    for count in (2, 4):
        assert all(map(all, at_once([partial(work, k) for k in range(count)])))


def test_one_thread_at_a_time_queues_on_the_device() -> None:
    inside, seen = list[int](), list[int]()

    def queue() -> None:
        with memory_of(CUDA).turn(), memory_of(CUDA).turn():
            inside.append(1)
            time.sleep(0.02)
            seen.append(len(inside))
            inside.pop()

    at_once([queue] * 3)
    assert seen == [1] * 3


def test_options_of_a_device_reach_the_provider(net: sf.Network) -> None:
    device = sf.Device(
        "cuda:1", tf32=True, graphs=False, search="exhaustive", mixed=True, options={"gpu_mem_limit": "99"}
    )
    Engine(net, sf.Class(0), device=device)
    made = InferenceSession.made[-1]
    wanted = {
        "device_id": "1",
        "use_tf32": "1",
        "enable_cuda_graph": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "gpu_mem_limit": "99",
    }
    assert wanted.items() <= made.options.items()
    assert made.entries == AS_WRITTEN | {"session.record_ep_graph_assignment_info": "1"}


def test_work_is_in_order_with_the_stream_of_the_caller(net: sf.Network) -> None:
    grad = sf.value_and_grad(net, sf.Class(0), device=CUDA)
    grad(on_device(images()))
    cupy_on_numpy.Stream.waits.clear()
    theirs, ours = cupy_on_numpy.Stream(non_blocking=True), memory_of(CUDA).stream
    with theirs:
        grad(on_device(images()))
    assert cupy_on_numpy.Stream.waits[0] == (ours, theirs.ptr)
    assert cupy_on_numpy.Stream.waits[-1] == (theirs.ptr, ours)


def test_a_gradient_on_the_device_can_be_checked(net: sf.Network) -> None:
    assert check_gradient(net, sf.Class(2), images(), device="cuda") < 1e-4


def test_attributions_on_the_device(net: sf.Network) -> None:
    u, objective, of = images(2), sf.Class([1, 4]), sf.attribution
    for method in (of.saliency, of.smooth_grad, of.integrated_gradients, of.grad_cam):
        found, expected = (method(net, objective, u, device=d) for d in ("cuda", "cpu"))
        assert isinstance(found, np.ndarray)
        close(found, expected, 1e-5)
    half = of.grad_cam(net, objective, u, device=sf.Device("cuda", precision="float16"))
    assert 0 < np.abs(half - expected).max() < 0.02 * expected.max()


def test_as_many_images_go_through_at_once_as_fit(net: sf.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    u, objective = images(7), sf.Class([0, 1, 2, 3, 4, 5, 0])
    expected = sf.value_and_grad(net, objective)(u)
    whole = Engine(net, objective, batch=7, device=CUDA)
    assert whole.at_once == 7
    assert whole.notes == []
    runtime = sys.modules["cupy"].cuda.runtime
    monkeypatch.setattr(runtime, "memGetInfo", lambda: (30_000, 1 << 31))
    fewer = Engine(net, objective, batch=7, device=sf.Device("cuda", graphs=False))
    assert 1 < fewer.at_once < 7
    assert fewer.notes == [
        f"{net.name} takes {fewer.at_once} at a time of 7 on device 'cuda': more do not fit"
    ]
    values, g = computed(fewer, u)
    close(values.memory, expected[0], 1e-6)
    close(g.memory, expected[1], 1e-6)


def test_the_batch_is_halved_where_memory_runs_out_nevertheless(net: sf.Network) -> None:
    InferenceSession.fits = 2
    u, objective = images(5), sf.Class([0, 1, 2, 3, 4])
    engine = Engine(net, objective, batch=5, device=CUDA)
    values, g = computed(engine, u)
    assert engine.at_once == 2
    assert "takes 2 at a time of 5" in engine.notes[0]
    expected = sf.value_and_grad(net, objective)(u)
    close(values.memory, expected[0], 1e-6)
    close(g.memory, expected[1], 1e-6)
    InferenceSession.fits = 0
    with pytest.raises(DeviceMemoryError, match=r"'cuda': its memory is used up.* smaller batch") as caught:
        Engine(net, objective, batch=5, device=CUDA)(on_device(u))
    assert isinstance(caught.value, MemoryError)


def test_a_file_of_one_image_takes_one_at_a_time_without_a_word() -> None:
    net = sf.load(small_model(batch=1), preprocess="torch")
    engine = Engine(net, sf.Class([1, 4]), batch=2, device=CUDA)
    _, g = computed(engine, images(2))
    assert (engine.at_once, engine.notes) == (1, [])
    close(g.memory, Engine(net, sf.Class([1, 4]), batch=2)(images(2))[1], 1e-6)


def test_images_that_are_compared_must_fit_together(net: sf.Network) -> None:
    InferenceSession.fits = 1
    objective = sf.Class([0, 1]) + 0.1 * sf.Diversity("conv1")
    with pytest.raises(InputError, match=r"compares the images of a batch, but .* one at a time"):
        sf.visualize(net, objective, batch=2, steps=2, device=CUDA, progress=False)


def test_values_that_are_no_numbers_are_found_when_they_arrive(net: sf.Network) -> None:
    engine = Engine(net, sf.Class(0), device=CUDA)
    u = images()
    u[0, 0, 0, 0] = np.nan
    values, _ = computed(engine, u)
    assert np.isnan(values.memory).all()
    assert "the image itself is not finite" in engine.blame(on_device(u))


def test_a_device_that_is_not_there(net: sf.Network) -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda:5': there is no such device.*nvidia-smi -L"):
        Engine(net, sf.Class(0), device="cuda:5")


# --- descents -----------------------------------------------------------------------------------

DESCENTS: dict[str, dict[str, Any]] = {
    "the default": {},
    "fluid, small jitter": {"scheme": sf.fluid(EXACT)},
    "elastic": {"scheme": sf.elastic(EXACT), "jitter": 0},
    "fluid-elastic, a finite filter": {"scheme": sf.fluid_elastic(EXACT, Gaussian(3)), "steps": 5},
    "crops of a canvas": {"scheme": sf.fluid(EXACT), "canvas": (11, 12), "snapshots": 2},
    "octaves": {"scheme": sf.fluid(EXACT), "octaves": 2, "steps": 12},
    "scales from a coarse grid on": {"scheme": sf.fluid(EXACT), "octaves": [0.5, 1.25], "steps": 12},
    "momentum": {"scheme": sf.fluid(EXACT), "optimizer": "momentum", "schedule": "cosine"},
    "adam": {"scheme": sf.fluid(EXACT), "optimizer": "adam", "steps": 8},
    "after": {"scheme": sf.fluid(EXACT), "normalise": "after"},
    "raw": {"scheme": sf.fluid(EXACT), "normalise": None, "tau": 0.5},
    "pyramid": {"scheme": sf.fluid(sf.Multiscale(2)), "jitter": 0},
    "dirichlet": {"scheme": sf.gradient_descent(sf.schemes.Dirichlet(0.1)), "jitter": 0},
    "a function": {"scheme": sf.fluid(lambda g: 2 * g)},
    "fourier": {"parametrization": sf.Fourier()},
    "phase": {"parametrization": sf.Phase()},
    "total variation": {"scheme": sf.proximal_tv(0.01, max_iterations=2), "steps": 2, "jitter": 0},
}
NO_GRAPH = {"a function", "total variation"}


@pytest.mark.parametrize("name", DESCENTS)
def test_a_descent_is_that_of_the_host(name: str, net: sf.Network) -> None:
    given = {"steps": 6, "jitter": 1, "progress": False, "seed": 3, **DESCENTS[name]}
    expected = sf.visualize(net, sf.Class([1, 4]), **given)
    found = sf.visualize(net, sf.Class([1, 4]), device=CUDA, **given)
    assert isinstance(found.u, np.ndarray)
    np.testing.assert_allclose(found.u, expected.u, atol=2e-4)
    close(found.history.value, expected.history.value, 1e-3)
    close(found.history.rms_step, expected.history.rms_step, 1e-3)
    close(found.history.mean_abs_gradient, expected.history.mean_abs_gradient, 1e-3)
    np.testing.assert_allclose(found.history.tau, expected.history.tau)
    close(np.asarray(found.value), np.asarray(expected.value), 1e-3)
    assert found.snapshots.keys() == expected.snapshots.keys()
    assert found.notes == expected.notes
    assert found.manifest["parameters"]["device"] == "cuda"
    # a graph of what the network is shown, and one of the step
    replayed = [graph.count for graph in cupy_on_numpy.Stream.captured]
    if name in NO_GRAPH:
        assert name != "a function" or len(replayed) == 1
    elif "octaves" in given:
        assert len(replayed) == 4
    else:
        # three steps to warm up, two that are replayed for comparison, and then replays alone
        assert replayed == 2 * [given["steps"] - 3]


def test_patience_ends_where_it_does_on_the_host(net: sf.Network) -> None:
    given: dict[str, Any] = {"steps": 40, "patience": 3, "jitter": 3, "progress": False}
    given |= {"scheme": sf.fluid(EXACT)}
    expected, found = (sf.visualize(net, sf.Class(1), device=d, **given) for d in ("cpu", CUDA))
    assert found.stopped_by == "patience"
    assert len(found.history) == len(expected.history) < 40
    np.testing.assert_allclose(found.u, expected.u, atol=2e-4)
    assert found.notes == expected.notes


def test_what_is_masked_stays(net: sf.Network) -> None:
    mask = np.zeros(SIZE[1:], bool)
    mask[2:5, 3:7] = True
    given = {"mask": mask, "start": images()[0], "steps": 6, "jitter": 0, "progress": False}
    scheme = sf.fluid(EXACT)
    expected = sf.visualize(net, sf.Class(1), scheme=scheme, **given)
    found = sf.visualize(net, sf.Class(1), scheme=scheme, device=CUDA, **given)
    np.testing.assert_allclose(found.u, expected.u, atol=1e-4)
    np.testing.assert_array_equal(found.u[..., ~mask], images()[..., ~mask])
    assert np.abs(found.u - images()).max() > 0.01


def test_a_mask_grows_with_the_octaves(net: sf.Network) -> None:
    mask = np.zeros((10, 12), bool)
    mask[3:8, 2:9] = True
    octaves = [sf.Octave(1.25, 5), sf.Octave(1.5, 5)]
    given: dict[str, Any] = {"mask": mask, "octaves": octaves, "scheme": sf.fluid(EXACT), "progress": False}
    expected, found = (sf.visualize(net, sf.Class(1), device=d, **given) for d in ("cpu", CUDA))
    np.testing.assert_allclose(found.u, expected.u, atol=2e-4)


def test_what_is_masked_is_the_start_itself_after_a_coarse_grid(net: sf.Network) -> None:
    mask = np.zeros(SIZE[1:], bool)
    mask[2:5, 3:7] = True
    given: dict[str, Any] = {"mask": mask, "start": images()[0], "octaves": [0.5, 1.0], "steps": 6}
    given |= {"scheme": sf.fluid(EXACT), "progress": False}
    expected, found = (sf.visualize(net, sf.Class(1), device=d, **given) for d in ("cpu", CUDA))
    np.testing.assert_allclose(found.u, expected.u, atol=2e-4)
    np.testing.assert_array_equal(found.u[..., ~mask], images()[..., ~mask])


def test_features_are_inverted_on_the_device(net: sf.Network) -> None:
    objective = sf.Inversion("conv2", images(2, seed=9))
    given: dict[str, Any] = {"steps": 5, "scheme": sf.fluid(EXACT), "progress": False}
    expected, found = (sf.invert(net, objective, device=d, **given) for d in ("cpu", CUDA))
    np.testing.assert_allclose(found.u, expected.u, atol=1e-4)


def test_a_graph_that_does_something_else_is_not_used(
    net: sf.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = cupy_on_numpy.Graph.launch

    def wrong(self: Any, stream: Any = None) -> None:
        launch(self)
        launch(self)  # two steps in the place of one

    monkeypatch.setattr(cupy_on_numpy.Graph, "launch", wrong)
    given: dict[str, Any] = {
        "steps": 8,
        "scheme": sf.fluid(EXACT),
        "optimizer": "momentum",
        "progress": False,
    }
    expected, found = (sf.visualize(net, sf.Class(1), device=d, **given) for d in ("cpu", CUDA))
    np.testing.assert_allclose(found.u, expected.u, atol=1e-4)
    assert any("not replayed as a CUDA graph, which gave another result" in note for note in found.notes)


def test_a_graph_that_keeps_a_number_of_its_first_step_is_not_used(
    net: sf.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(kernel: Any, blocks: Any, threads: Any, stream: Any) -> Any:
        return kernel[blocks, threads, stream]  # as on a stream that is not the one being captured

    monkeypatch.setattr(view_cuda, "configured", at_once)
    given: dict[str, Any] = {"steps": 9, "scheme": sf.fluid(EXACT), "progress": False}
    expected, found = (sf.visualize(net, sf.Class(1), device=d, **given) for d in ("cpu", CUDA))
    np.testing.assert_allclose(found.u, expected.u, atol=1e-4)
    assert [graph.count <= 2 for graph in cupy_on_numpy.Stream.captured] == [True, True]
    assert any("gave another result" in note for note in found.notes)


def test_a_step_that_cannot_be_captured_is_taken_all_the_same(
    net: sf.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_module, "is_capturable", lambda settings: True)
    waiting = sf.fluid(lambda g: g * (1.0 if float(abs(g).max()) > 0 else 0.0))
    given: dict[str, Any] = {"steps": 6, "scheme": waiting, "progress": False}
    expected, found = (sf.visualize(net, sf.Class(1), device=d, **given) for d in ("cpu", CUDA))
    np.testing.assert_allclose(found.u, expected.u, atol=1e-4)
    assert any("not replayed as a CUDA graph: cudaErrorStreamCaptureUnsupported" in n for n in found.notes)


def test_without_graphs(net: sf.Network) -> None:
    device = sf.Device("cuda", graphs=False)
    found = sf.visualize(net, sf.Class(1), scheme=sf.fluid(EXACT), steps=6, device=device, progress=False)
    assert not cupy_on_numpy.Stream.captured
    assert found.manifest["parameters"]["device"] == {"name": "cuda", "graphs": False}


def test_measurements_arrive_later_and_none_is_lost(net: sf.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_on_numpy.Event, "done", False)
    monkeypatch.setattr(log_module, "_BEHIND", 3)
    known = []
    step = loop_module.Loop._step

    def noted(self: Any) -> None:
        step(self)
        known.append(len(self.log.records))

    monkeypatch.setattr(loop_module.Loop, "_step", noted)
    result = sf.visualize(net, sf.Class(1), scheme=sf.fluid(EXACT), steps=8, device=CUDA, progress=False)
    assert known == [0, 0, 0, 1, 2, 3, 4, 5]
    expected = sf.visualize(net, sf.Class(1), scheme=sf.fluid(EXACT), steps=8, progress=False)
    close(result.history.value, expected.history.value, 1e-4)


def test_a_callback_is_told_of_the_step_just_taken(net: sf.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_on_numpy.Event, "done", False)
    seen = []

    def told(info: Any) -> bool:
        seen.append((info.step, float(info.value[0]), to_host(info.u).copy()))
        return bool(info.step == 3)

    scheme = sf.fluid(EXACT)
    result = sf.visualize(
        net, sf.Class(1), scheme=scheme, steps=8, device=CUDA, progress=False, callback=told
    )
    assert [step for step, _, _ in seen] == [1, 2, 3]
    assert result.stopped_by == "callback"
    np.testing.assert_array_equal(seen[-1][2], result.u)
    np.testing.assert_allclose([value for _, value, _ in seen], result.history.value[:, 0])


def test_a_start_without_gradient_is_nudged_on_the_device() -> None:
    nodes = [helper.make_node("Sub", ["x", "shift"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    inputs, shift = {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, {"shift": np.array([0.56], np.float32)}
    dead = sf.load(make_model(nodes, inputs, ["y"], shift), preprocess="none")
    given: dict[str, Any] = {"steps": 5, "scheme": sf.fluid(EXACT), "noise": 0.001, "progress": False}
    expected, found = (sf.visualize(dead, sf.Layer("y"), device=d, **given) for d in ("cpu", CUDA))
    assert found.notes == expected.notes
    assert "started from grey with noise" in found.notes[0]
    np.testing.assert_allclose(found.u, expected.u, atol=1e-5)


def test_a_gradient_that_breaks_down_on_the_way(net: sf.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Engine._run

    def broken(self: Any, own: Any) -> None:
        run(self, own)
        if self.device.name == "cuda" and InferenceSession.runs > 4:
            own.gradient[...] = np.nan

    monkeypatch.setattr(Engine, "_run", broken)
    with pytest.raises(GradientError, match=r"Step 5: .*the backward pass overflows") as caught:
        sf.visualize(net, sf.Class(1), scheme=sf.fluid(EXACT), steps=9, device=CUDA, progress=False)
    result = caught.value.result  # type: ignore[attr-defined]
    assert len(result.history) == 4
    assert np.isfinite(result.u).all()


# --- the bench ----------------------------------------------------------------------------------


@pytest.mark.skipif(not BENCH.is_dir(), reason="bench/ is not part of the source distribution")
def test_the_bench_of_networks_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    bench = importlib.import_module("gpu_networks")
    monkeypatch.setattr(bench, "SIZE", 12)
    monkeypatch.setattr(bench, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(bench, "has_torch", lambda: False)
    onnx.save(small_model(size=(3, 12, 12)), tmp_path / "squeezenet1_1.onnx")
    InferenceSession.fits = 2
    one, three = bench.gradients("squeezenet1_1", tmp_path, (1, 3))
    for row in (one, three):
        assert row["candidates"].keys() == bench.OURS.keys()
        for label, found in row["candidates"].items():
            assert found["ms"] > 0
            assert found["error_to_cpu"] < (0.05 if "float16" in label else 1e-5)
    assert three["candidates"]["sobolevflow"]["at_once"] == 2
    schemes = {"fluid": {"scheme": sf.fluid(EXACT)}, "default": {}}
    rows = bench.whole_run("squeezenet1_1", tmp_path, 2, schemes, steps=5)
    assert [row["scheme"] for row in rows] == ["fluid", "default"]
    assert all(0 <= row["share_not_network"] < 1 for row in rows)
    assert "squeezenet1_1 x 2, fluid: " in bench.report(rows)


# --- failures -----------------------------------------------------------------------------------


def lose_device(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the runs after some fail, and everything that lies on the device be gone."""
    InferenceSession.fail_after = after
    get = cupy_on_numpy.ndarray.get

    def gone(self: Any, *arguments: Any, **options: Any) -> Any:
        if InferenceSession.runs > after:
            raise cupy_on_numpy.CUDARuntimeError("cudaErrorLaunchFailure: unspecified launch failure")
        return get(self, *arguments, **options)

    monkeypatch.setattr(cupy_on_numpy.ndarray, "get", gone)


def test_a_lost_device_leaves_the_last_picture_on_disk(
    net: sf.Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sobolevflow.descent.autosave.SECONDS", 0.0)
    lose_device(monkeypatch, 5)
    path = tmp_path / "so far.png"
    with pytest.raises(DeviceError, match=r"'cuda': it was lost during the run.*last picture") as caught:
        sf.visualize(
            *(net, sf.Class(1)), scheme=sf.fluid(EXACT), steps=9, device=CUDA, progress=False, autosave=path
        )
    result: Any = caught.value.result
    expected = sf.visualize(net, sf.Class(1), scheme=sf.fluid(EXACT), steps=5, progress=False)
    np.testing.assert_allclose(result.u, expected.u, atol=1e-4)
    assert result.stopped_by == "error"
    assert any("those after step 5" in note for note in result.notes)
    saved = sf.read_image(path)
    np.testing.assert_allclose(saved, np.clip(result.u[0], 0, 1), atol=0.6 / 255)


def test_a_device_that_is_lost_before_anything_was_saved(
    net: sf.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_device(monkeypatch, 3)
    with pytest.raises(DeviceError, match="lost during the run") as caught:
        sf.visualize(net, sf.Class(1), scheme=sf.fluid(EXACT), steps=9, device=CUDA, progress=False)
    assert caught.value.result is None


def test_memory_that_runs_out_on_the_way_leaves_what_there_is(
    net: sf.Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = Engine._run

    def full(self: Any, own: Any) -> None:
        runs(self, own)
        if InferenceSession.runs > 3:
            raise MemoryError("OutOfMemoryError: Out of memory allocating 512 bytes")

    monkeypatch.setattr(Engine, "_run", full)
    path = tmp_path / "so far.png"
    with pytest.raises(DeviceMemoryError, match="its memory is used up") as caught:
        sf.visualize(
            *(net, sf.Class(1)), scheme=sf.fluid(EXACT), steps=9, device=CUDA, progress=False, autosave=path
        )
    result: Any = caught.value.result
    assert len(result.history) == 3
    assert path.exists()


def test_what_a_function_of_the_user_raises_is_left_as_it_is(net: sf.Network) -> None:
    def wrong(g: Any) -> Any:
        raise KeyError("a mistake of the user's")

    with pytest.raises(KeyError, match="a mistake"):
        sf.visualize(net, sf.Class(1), scheme=sf.fluid(wrong), steps=2, device=CUDA, progress=False)


def test_copies_are_made_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("sobolevflow.descent.autosave.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("sobolevflow.descent.autosave.SECONDS", 10.0)
    kept = Autosave(memory_of(CUDA), None, lambda u: u)
    u = on_device(np.zeros((1, 3, 2, 2), np.float32))
    kept.offer(1, u)
    assert kept.latest is None
    clock[0] = 11.0
    u[...] = 0.25
    kept.offer(2, u)
    u[...] = 0.5
    clock[0] = 12.0
    kept.offer(3, u)
    assert kept.latest is not None
    assert kept.latest[0] == 2
    assert (kept.latest[1] == 0.25).all()
