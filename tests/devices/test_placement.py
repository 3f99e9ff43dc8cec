"""Every node of a gradient graph runs on the GPU: asked of onnxruntime's CUDA provider, without a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import site
import subprocess
from pathlib import Path
from typing import Any

import onnx
import pytest

import sobolevflow as sf
from tests.support import cuda_stubs
from tests.support.paths import ROOT, SUPPORT
from tests.support.sampling import sampled

# made by `make placement`: onnxruntime-gpu cannot share an environment with onnxruntime
PYTHON = Path(os.environ.get("SOBOLEVFLOW_CUDA_PYTHON", ROOT / ".venv-cuda/bin/python"))
BUNDLED = ("builtin:shapes-vgg", "builtin:shapes-dense")
HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "torchvision", "onnxscript"))

ARCHITECTURES = (
    *("vgg19", "vgg19_bn", "resnet50", "densenet121", "squeezenet1_1", "googlenet", "inception_v3"),
    *("mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0", "efficientnet_b0", "regnet_y_400mf"),
    *("convnext_tiny", "vit_b_16", "swin_t"),
)

pytestmark = [
    pytest.mark.placement,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs onnxruntime-gpu in .venv-cuda: make placement"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, for the stub libraries"),
]


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    find = "import onnxruntime; print(onnxruntime.__path__[0])"
    package = subprocess.run([PYTHON, "-c", find], check=True, capture_output=True, text=True).stdout.strip()
    provider = Path(package, "capi/libonnxruntime_providers_cuda.so")
    return cuda_stubs.build(provider, tmp_path_factory.mktemp("cuda"))


def placed(path: Path, stubs: Path) -> tuple[dict[str, dict[str, int]], str]:
    """Nodes by provider and operator, and what onnxruntime said meanwhile."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(stubs)}
    command = [str(PYTHON), str(SUPPORT / "placement.py"), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def check_on_gpu(net: sf.Network, folder: Path, stubs: Path) -> None:
    path = folder / "gradient.onnx"
    model = sf.gradient_model(net, sf.Class(3), path=path)
    owners, said = placed(path, stubs)
    assert set(owners) == {"CUDAExecutionProvider"}, {k: v for k, v in owners.items() if k.startswith("CPU")}
    # the optimizer may fold and fuse nodes, but not make of a hundred one
    assert sum(owners["CUDAExecutionProvider"].values()) > len(model.graph.node) / 2
    assert "Memcpy" not in said, said


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_network_is_on_the_gpu(name: str, tmp_path: Path, stubs: Path) -> None:
    check_on_gpu(sf.load(name), tmp_path, stubs)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TORCH, reason="needs torch, torchvision and onnxscript: make networks")
@pytest.mark.parametrize(
    ("name", "exporter"),
    sampled(
        [
            *((name, "dynamo") for name in ARCHITECTURES),
            # the other exporter writes other operators at a few places, which these have between them
            *(
                (name, "torchscript")
                for name in ("densenet121", "shufflenet_v2_x1_0", "convnext_tiny", "swin_t")
            ),
        ]
    ),
)
def test_an_architecture_is_on_the_gpu(name: str, exporter: str, tmp_path: Path, stubs: Path) -> None:
    from tests.support import torch_networks

    size = torch_networks.ARCHITECTURES[name][1]
    model = torch_networks.export(torch_networks.build(name), size, exporter)
    check_on_gpu(sf.load(model, preprocess="none"), tmp_path, stubs)


def opened(stubs: Path | None) -> dict[str, Any]:
    """What became of the sessions of device_sessions.py, with the libraries that pretend, or without."""
    script = SUPPORT / "device_sessions.py"
    folders = [str(ROOT), *(str(Path(p)) for p in site.getsitepackages())]
    environment = {**os.environ, **({} if stubs is None else {"LD_LIBRARY_PATH": str(stubs)})}
    command = [str(PYTHON), str(script), *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_sessions_are_on_the_device_as_it_was_asked_for(stubs: Path) -> None:
    found = opened(stubs)
    asked = {
        "device_id": "0",
        "use_tf32": "0",
        "enable_cuda_graph": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "user_compute_stream": "4096",
        "has_user_compute_stream": "1",
    }
    for name in ("plain", "float16 shapes-vgg", "float16 shapes-dense"):
        assert found[name]["providers"][0] == "CUDAExecutionProvider"
        assert asked.items() <= found[name]["options"].items()
        assert found[name]["notes"] == []
    given = {
        "use_tf32": "1",
        "enable_cuda_graph": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "gpu_mem_limit": "1000000000",
    }
    assert given.items() <= found["given"]["options"].items()


def test_every_objective_is_on_the_device(stubs: Path) -> None:
    # and without a copy in between, which a session with CUDA graphs refuses
    found = opened(stubs)["objectives"]
    assert len(found) == 2 * 10
    refused = {name: outcome["said"] for name, outcome in found.items() if "error" in outcome}
    assert not refused


def test_what_is_not_on_the_device_is_refused_and_named(stubs: Path) -> None:
    found = opened(stubs)
    refused = found["some on the CPU"]
    assert refused["error"] == "DeviceError"
    assert "no kernels for 1 of the nodes (1 Det)" in refused["said"]
    assert "mixed=True" in refused["said"]
    (note,) = found["mixed"]["notes"]
    assert note.startswith("CUDAExecutionProvider leaves 1 of the nodes to the CPU (1 Det), with copies")
    assert "does not know one of the options" in found["unknown option"]["said"]
    assert "no_such_option" in found["unknown option"]["said"]


def test_without_cuda_there_is_an_error_with_its_reason_and_nothing_on_the_cpu() -> None:
    found = opened(None)
    outcomes = [each for key, each in found.items() if key not in ("version", "objectives")]
    for outcome in (*outcomes, *found["objectives"].values()):
        assert outcome["error"] == "DeviceError"
        assert "could not load its CUDAExecutionProvider" in outcome["said"]
        assert "driver" in outcome["said"] or "libcu" in outcome["said"]


def test_a_node_that_is_not_on_the_gpu_is_seen(tmp_path: Path, stubs: Path) -> None:
    # the provider has no kernel of Det, and what follows it on the GPU needs a copy
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node("Det", ["x"], ["d"]), node("Relu", ["d"], ["y"])],
        "determinant",
        [info("x", onnx.TensorProto.FLOAT, (4, 3, 3))],
        [info("y", onnx.TensorProto.FLOAT, (4,))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, tmp_path / "determinant.onnx")
    owners, said = placed(tmp_path / "determinant.onnx", stubs)
    assert owners["CPUExecutionProvider"] == {"Det": 1}
    assert "Memcpy" in said
