"""Devices by name, what their failures mean, and what is installed to use them."""

from __future__ import annotations

import ctypes
import importlib
import json
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.cli.main import main
from sobolevflow.devices import installation
from sobolevflow.devices.device import PROVIDERS, Device
from sobolevflow.devices.failures import FAILURES, explained, recognised
from sobolevflow.devices.memory import Host
from sobolevflow.devices.replay import Replay
from sobolevflow.devices.sessions import open_on
from sobolevflow.errors import (
    DeviceError,
    DeviceMemoryError,
    InputError,
    RuntimeMissingError,
    SobolevflowError,
    UnknownNameError,
)
from sobolevflow.gradient import engine as engine_module
from sobolevflow.gradient.engine import Engine
from sobolevflow.gradient.model import gradient_graph
from sobolevflow.gradient.trial import examine, trial
from sobolevflow.network import Network
from sobolevflow.objectives import runtime_parameters
from sobolevflow.onnxgrad import Graph, Node, TensorType
from sobolevflow.onnxgrad.footprint import peak_bytes, weight_bytes
from tests.support.gradient_cases import close, make_model
from tests.support.small_networks import images, small_model


@pytest.fixture
def net() -> Network:
    return sf.load(small_model(), preprocess="torch")


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "short", "index", "provider"),
    [
        ("cpu", "cpu", 0, "CPUExecutionProvider"),
        ("cuda", "cuda", 0, "CUDAExecutionProvider"),
        ("cuda:2", "cuda", 2, "CUDAExecutionProvider"),
        ("CUDAExecutionProvider:1", "cuda", 1, "CUDAExecutionProvider"),
        ("openvino", "openvino", 0, "OpenVINOExecutionProvider"),
        ("coreml", "coreml", 0, "CoreMLExecutionProvider"),
        ("directml:1", "directml", 1, "DmlExecutionProvider"),
        ("webgpu", "webgpu", 0, "WebGpuExecutionProvider"),
        ("tensorrt", "tensorrt", 0, "TensorrtExecutionProvider"),
        ("VitisAIExecutionProvider", "VitisAIExecutionProvider", 0, "VitisAIExecutionProvider"),
    ],
)
def test_a_device_by_name(name: str, short: str, index: int, provider: str) -> None:
    device = Device.of(name)
    assert (device.name, device.index, device.provider) == (short, index, provider)
    assert Device.of(str(device)) == device
    assert device.to_dict() == str(device)
    assert Device.of(device) is device


def test_names_and_options_that_make_no_sense() -> None:
    for name in ("gpu", "cuda:x", "cuda:-1", "", "CPU"):
        with pytest.raises(UnknownNameError, match="there is no device"):
            Device(name)
    for bad in (3, None):
        with pytest.raises(InputError, match="device is a name"):
            Device.of(bad)  # type: ignore[arg-type]
    with pytest.raises(
        UnknownNameError, match="precision of a device is 'bfloat16'; known are 'float32', 'float16'"
    ):
        Device("cpu", precision="bfloat16")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="search of a device is 'fast'"):
        Device("cuda", search="fast")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tf32 of a device is 1; it must be True or False"):
        Device("cuda", tf32=1)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="the number of a device is -1; it must be a whole number of at least 0"
    ):
        Device("cuda", index=-1)


def test_options_are_passed_through_and_win() -> None:
    device = Device("openvino", options={"device_type": "GPU"})
    assert device.provider_options() == {"device_type": "GPU"}
    assert device == Device("openvino", options=(("device_type", "GPU"),))
    assert device.to_dict() == {"name": "openvino", "options": {"device_type": "GPU"}}
    assert Device("tensorrt:1").providers() == [
        ("TensorrtExecutionProvider", {"device_id": "1"}),
        ("CUDAExecutionProvider", {"device_id": "1"}),
    ]
    cuda = Device("cuda", options={"use_tf32": "1"}).provider_options(48)
    assert (cuda["use_tf32"], cuda["user_compute_stream"]) == ("1", "48")
    assert "user_compute_stream" not in Device("cuda").provider_options()
    assert json.loads(json.dumps(Device("cuda:1", tf32=True).to_dict())) == {"name": "cuda:1", "tf32": True}
    numpy_flag = Device("cuda:1", tf32=np.bool_(True))  # type: ignore[arg-type]
    assert json.loads(json.dumps(numpy_flag.to_dict())) == {"name": "cuda:1", "tf32": True}


def test_a_provider_that_is_not_installed_is_named_with_those_that_are(net: Network) -> None:
    with pytest.raises(RuntimeMissingError, match=r"has no CoreMLExecutionProvider, only .*CPUExec.*doctor"):
        Engine(net, sf.Class(0), device="coreml")


def test_the_cpu_by_the_name_of_its_provider(net: Network) -> None:
    u = images()
    same = Engine(net, sf.Class(1), device="CPUExecutionProvider")(u)[1]
    np.testing.assert_array_equal(same, Engine(net, sf.Class(1))(u)[1])


# --- half precision -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective", [sf.Class([1, 4]), sf.Layer("conv1"), sf.Inversion("conv2", images(2, seed=9))]
)
def test_half_precision_is_of_the_network_alone(net: Network, objective: Any) -> None:
    u = images(2)
    values, g = sf.value_and_grad(net, objective)(u)
    half_values, half = sf.value_and_grad(net, objective, device=Device("cpu", precision="float16"))(u)
    assert [each.dtype.name for each in (half_values, half)] == ["float64", "float32"]
    assert 0 < np.abs(half - g).max() < 0.02 * np.abs(g).max()
    close(half_values, values, 5e-3)


def test_small_gradients_survive_half_precision() -> None:
    """A mean over many positions has gradients below the smallest half number that is not subnormal."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    w = {"w": np.full((1, 3, 3, 3), 0.01, np.float32)}
    net = sf.load(make_model(nodes, {"x": ((1, 3, 64, 64), TensorProto.FLOAT)}, ["y"], w), preprocess="none")
    u = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    g = sf.value_and_grad(net, sf.Channel("y", 0))(u)[1]
    assert g.max() < 6e-5
    half = sf.value_and_grad(net, sf.Channel("y", 0), device=Device("cpu", precision="float16"))(u)[1]
    close(half, g, 2e-3)


def test_a_gradient_graph_in_half_precision_says_so(net: Network) -> None:
    device = Device("cpu", precision="float16")
    objective = 1e9 * sf.Class(1)
    with pytest.raises(SobolevflowError, match="overflows, in float16; try precision='float32'"):
        Engine(net, objective, device=device)(images())
    assert device.to_dict() == {"name": "cpu", "precision": "float16"}


# --- a provider that is not to be trusted -------------------------------------------------------


def test_the_first_gradient_of_an_untried_provider_is_compared(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    def fake(graph: Graph, device: Device, stream: int, threads: int | None) -> tuple[Any, list[str]]:
        runs.append(device.name)
        if device.name == "coreml" and wrong:
            graph.constants |= {k: 2 * v for k, v in graph.constants.items() if k.startswith("w")}
        return real(graph, Device("cpu"), stream, threads)

    real = open_on
    monkeypatch.setattr(engine_module, "open_on", fake)
    wrong = False
    engine = Engine(net, sf.Class(1), device="coreml")
    expected = Engine(net, sf.Class(1))(images())[1]
    for _ in range(2):
        np.testing.assert_array_equal(engine(images())[1], expected)
    assert runs == ["coreml", "cpu"]  # of the CPU the session is already there
    part = Engine(net, sf.Class([1, 2, 3]), batch=3, device="coreml", images=slice(1, 3))
    np.testing.assert_array_equal(part(images(2))[1], Engine(net, sf.Class([2, 3]), batch=2)(images(2))[1])
    wrong = True
    net.sessions.clear()
    engine = Engine(net, sf.Class(1), device="coreml")
    for _ in range(2):  # another thread may have been refused, too
        with pytest.raises(DeviceError, match="CoreMLExecutionProvider computes another gradient than the C"):
            engine(images())


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        ("Out of memory allocating 1,024 bytes (allocated so far: 0 bytes).", "used up", DeviceMemoryError),
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=x", "used up", DeviceMemoryError),
        ("BFCArena::AllocateRawInternal Failed to allocate memory", "used up", DeviceMemoryError),
        (
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime",
            "older",
            DeviceError,
        ),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", "no such device", DeviceError),
        ("CUDA failure 700: an illegal memory access was encountered", "lost", DeviceError),
        ("cudaErrorLaunchFailure: unspecified launch failure", "lost", DeviceError),
        ("cudaErrorECCUncorrectable: uncorrectable ECC error encountered", "lost", DeviceError),
        ("no kernel image is available for execution on the device", "too? .*old|this old", DeviceError),
        ("libcudnn.so.9: cannot open shared object file", "cuDNN is missing", DeviceError),
        ("something that nobody has seen", "failed: RuntimeError: something.*doctor", DeviceError),
    ],
)
def test_failures_in_plain_words(text: str, expected: str, kind: type[DeviceError]) -> None:
    found = explained(RuntimeError(text), "cuda:1")
    assert type(found) is kind
    assert "cuda:1" in str(found)
    with pytest.raises(kind, match=expected):
        raise found
    known = recognised(RuntimeError(text), "cuda:1")
    assert (known is None) == ("nobody" in text)


def test_every_failure_has_a_remedy() -> None:
    for failure in FAILURES:
        assert failure.meaning
        assert failure.remedy.endswith(".")


# --- memory -------------------------------------------------------------------------------------


def test_peak_of_a_graph_by_hand() -> None:
    graph = Graph()
    single = np.dtype(np.float32)
    sizes = {"x": 10, "a": 100, "b": 50, "c": 5, "d": 5}
    graph.types = {name: TensorType((n,), single) for name, n in sizes.items()}
    graph.inputs = {"x": graph.types["x"]}
    graph.constants = {"w": np.zeros(7, np.float32)}
    graph.nodes = [
        Node("A", ["x", "w"], ["a"]),
        Node("B", ["a"], ["b"]),
        Node("C", ["b"], ["c"]),
        Node("D", ["c", "b"], ["d"]),
    ]
    graph.outputs = ["d"]
    # x all the time; a and b live together, then a is gone
    assert peak_bytes(graph) == 4 * (10 + 100 + 50)
    assert weight_bytes(graph) == 4 * 7
    graph.outputs = ["a", "d"]
    assert peak_bytes(graph) == 4 * (10 + 100 + 50 + 5 + 5)


def test_peak_grows_with_the_batch(net: Network) -> None:
    one, three = (peak_bytes(gradient_graph(net, sf.Class(0), [*parameters(net, n)], n)) for n in (1, 3))
    assert three == 3 * one


def parameters(net: Network, batch: int) -> Any:
    return runtime_parameters(sf.Class(0), net, batch)


def test_an_array_with_gaps_is_not_bound() -> None:
    host = Host()
    with pytest.raises(DeviceError, match="not contiguous"):
        host.pointer(np.zeros((4, 4))[:, ::2])


def test_work_that_is_not_to_be_captured_is_done_every_time() -> None:
    done: list[int] = []
    replay = Replay(lambda: done.append(1), [], Host(), capture=False)
    for _ in range(5):
        replay()
    assert len(done) == 5
    assert replay.trouble is None


# --- the installation ---------------------------------------------------------------------------


class Wheels:
    """Distributions as `importlib.metadata` lists them."""

    def __init__(self, **versions: str) -> None:
        self.found = [
            SimpleNamespace(metadata={"Name": name.replace("_", "-")}, version=version)
            for name, version in versions.items()
        ]

    def __call__(self) -> Any:
        return self.found


def install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(metadata, "distributions", Wheels(**versions))


def runtime(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    module = SimpleNamespace(
        get_available_providers=lambda: list(providers), __version__="1.31.1", __file__=onnxruntime.__file__
    )
    monkeypatch.setattr(installation, "onnxruntime", lambda: module)


def test_both_wheels_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.32.0", onnxruntime_gpu="1.31.1", numpy="2")
    runtime(monkeypatch, "CPUExecutionProvider")
    found = installation.check_runtime()
    assert found.state == "trouble"
    assert "onnxruntime 1.32.0, onnxruntime-gpu 1.31.1 are installed over each other" in str(found)
    assert "pip uninstall onnxruntime onnxruntime-gpu" in str(found)
    runtime(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    assert installation.check_runtime().state == "warning"
    install(monkeypatch, onnxruntime_gpu="1.31.1")
    assert installation.check_runtime().state == "ok"


def test_no_runtime_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise RuntimeMissingError("onnxruntime is not installed; install it")

    monkeypatch.setattr(installation, "onnxruntime", missing)
    assert installation.check_runtime().state == "trouble"
    assert installation.check_provider().state == "trouble"
    assert "not installed" in installation.cuda_trouble()


@pytest.mark.parametrize(
    ("driver", "wheel", "state", "said"),
    [
        (None, "1.31.1", "trouble", "no driver of NVIDIA"),
        (
            (12, 8),
            "1.31.1",
            "trouble",
            "offers CUDA 12.8. The onnxruntime-gpu that is installed is built for CUDA 13",
        ),
        ((12, 8), "1.26.0", "ok", "offers CUDA 12.8"),
        ((13, 0), "1.27.0", "ok", "offers CUDA 13.0"),
        ((13, 0), None, "ok", "offers CUDA 13.0"),
    ],
)
def test_a_driver_that_is_too_old(
    driver: Any, wheel: str | None, state: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "driver_version", lambda: driver)
    install(monkeypatch, **({} if wheel is None else {"onnxruntime_gpu": wheel}))
    found = installation.check_driver()
    assert found.state == state
    assert said in found.said
    assert bool(found.remedy) == (state != "ok")


def test_the_version_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver:
        code = 0

        def cuInit(self, flags: int) -> int:  # noqa: N802
            return self.code

        def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
            ctypes.cast(version, ctypes.POINTER(ctypes.c_int))[0] = 12080
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert installation.driver_version() == (12, 8)
    monkeypatch.setattr(Driver, "code", 100)
    assert installation.driver_version() is None

    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert installation.driver_version() is None


def test_the_provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime(monkeypatch, "CPUExecutionProvider")
    assert "built without CUDA" in installation.check_provider().said
    runtime(monkeypatch, "CUDAExecutionProvider")
    monkeypatch.setattr(installation, "_load_error", lambda folder: "")
    assert installation.check_provider().state == "ok"
    monkeypatch.undo()
    for part in ("shared", "cuda"):
        (tmp_path / f"libonnxruntime_providers_{part}.so").write_bytes(b"no library")
    assert "libonnxruntime_providers_shared.so" in installation._load_error(tmp_path)
    assert installation._load_error(tmp_path / "capi") == ""


def test_cupy_and_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    def properties(k: int) -> dict[str, Any]:
        return {"name": b"NVIDIA X", "totalGlobalMem": 8 << 30, "major": 9, "minor": 0}

    calls = SimpleNamespace(getDeviceCount=lambda: 1, getDeviceProperties=properties)
    cupy = SimpleNamespace(__version__="14.2", cuda=SimpleNamespace(runtime=calls))
    monkeypatch.setattr(importlib, "import_module", lambda name: cupy)
    install(monkeypatch, cupy_cuda13x="14.2")
    found = installation.check_cupy()
    assert (found.state, found.said) == (
        "ok",
        "Version 14.2 sees cuda:0, NVIDIA X, compute capability 9.0, 8 GiB.",
    )
    install(monkeypatch, cupy_cuda13x="14.2", cupy_cuda12x="14.1")
    assert "cupy-cuda12x, cupy-cuda13x are installed over each other" in installation.check_cupy().said
    install(monkeypatch, cupy_cuda13x="14.2")

    def old() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    calls.getDeviceCount = old
    assert "driver is older" in installation.check_cupy().said
    assert installation.check_numba().state == "trouble"
    install(monkeypatch, numba_cuda="0.30.4")
    assert installation.check_numba().state == "ok"


# --- the doctor ---------------------------------------------------------------------------------


def test_a_healthy_device() -> None:
    found = list(examine("cpu"))
    assert [f.state for f in found] == ["ok"] * 3
    assert found[-1].subject == "trial on cpu"
    half = trial(Device("cpu", precision="float16"))
    assert half.state == "ok"


def test_a_device_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    call, first = Engine.__call__, []

    def off(self: Engine, u: Any) -> Any:
        values, g = call(self, u)
        first.append(1)
        return (values, g) if len(first) == 1 else (values, 1.1 * g)

    monkeypatch.setattr(Engine, "__call__", off)
    found = trial(Device("cpu"))
    assert found.state == "trouble"
    assert "off by 1.0e-01" in found.said


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok       trial on cpu: The gradient of")
    assert main(["doctor", "--device", "coreml", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found[-1]["state"] == "trouble"
    assert "has no CoreMLExecutionProvider" in found[-1]["said"]
    assert main(["doctor", "--device", "tpu"]) == 2
    assert "no device 'tpu'" in capsys.readouterr().err
    assert main(["doctor", "--device", "cuda"]) == 1  # here there is no GPU
    out = capsys.readouterr().out
    for subject in ("Python", "onnxruntime", "driver", "provider", "CuPy", "numba-cuda", "trial on cuda"):
        assert f" {subject}: " in out
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("This installation computes on the CPU")


def test_options_of_the_command_line_reach_the_descent(tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    given = ["--class", "0", "--steps", "2", "--device", "cpu", "--precision", "float16", "--quiet"]
    assert main(["visualize", "builtin:shapes-vgg", *given, "-o", str(out)]) == 0
    manifest = json.loads((tmp_path / "a.manifest.json").read_text())
    assert manifest["parameters"]["device"] == {"name": "cpu", "precision": "float16"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.manifest.json", "a.png"]


def test_pictures_are_saved_on_the_way(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sobolevflow.descent.autosave.SECONDS", 0.0)
    path = tmp_path / "so far.png"
    seen = []

    def look(info: Any) -> None:
        seen.append(sf.read_image(path))

    given: dict[str, Any] = {"scheme": sf.gradient_descent(), "steps": 3, "progress": False}
    result = sf.visualize(net, sf.Class(1), autosave=path, callback=look, **given)
    assert len(seen) == 3
    assert not np.array_equal(seen[0], seen[2])
    np.testing.assert_allclose(seen[2], result.u[0], atol=0.6 / 255)
    with pytest.raises(SobolevflowError, match="absent"):
        sf.visualize(net, sf.Class(1), autosave=tmp_path / "absent" / "a.png", **given)


def test_every_provider_has_one_short_name() -> None:
    assert len(set(PROVIDERS.values())) == len(PROVIDERS)
