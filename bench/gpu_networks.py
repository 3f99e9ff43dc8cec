"""Gradients and whole descents on an NVIDIA GPU, beside PyTorch's: the part of bench/gpu.py with networks.

Ours is timed as the descent runs it: image and gradient in the memory of the GPU, replayed as a CUDA graph.
PyTorch's candidates are eager, compiled, and captured into a CUDA graph by hand, each with TF32 off and on;
all have frozen weights. Without a build of PyTorch for CUDA ours stands alone.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from generated import Record
from gradients import CLASS, NETWORKS, SIZE, exported as network_and_file
from timing import Call, timed

import sobolevflow as sf
from sobolevflow.arrays.places import to_host
from sobolevflow.gradient.engine import Engine

BATCHES = (1, 8, 64)
STEPS = 160
OURS = {
    "sobolevflow": sf.Device("cuda"),
    "sobolevflow, TF32": sf.Device("cuda", tf32=True),
    "sobolevflow, float16": sf.Device("cuda", precision="float16"),
    "sobolevflow, no graph": sf.Device("cuda", graphs=False),
}
# schemes of the whole run: the paper's, and the default
SCHEMES = {
    "fluid-elastic Sobolev 11": {"scheme": sf.fluid_elastic(sf.filters.Sobolev(size=11))},
    "fluid Sobolev 11": {"scheme": sf.fluid(sf.filters.Sobolev(size=11))},
    "default of visualize": {},
    "total variation": {"scheme": sf.proximal_tv(0.01)},
}
MOST_SECONDS = 0.5  # between two looks at the clock
__all__ = ["NETWORKS", "gradients", "has_torch", "report", "whole_run"]


# -- networks


def exported(name: str, folder: Path) -> Path:
    """The ONNX file of a network with random weights; made by torchvision unless it lies in the folder."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        network_and_file(name, folder)
    return path


def opened(path: Path) -> sf.Network:
    return sf.load(path, preprocess="none", input_shape=(SIZE, SIZE))


def has_torch() -> bool:
    with contextlib.suppress(ImportError):
        import torch

        return bool(torch.cuda.is_available())
    return False


# -- measuring


def seconds_of(call: Call, wait: Call, rounds: int = 7) -> float:
    """Median seconds of a call that queues its work, from as many in a row as fill some time."""
    for _ in range(4):  # compiles, captures
        call()
    wait()
    once = timed(lambda: (call(), wait()))
    repeats = max(1, min(200, int(MOST_SECONDS / max(once, 1e-6) / rounds)))
    found = []
    for _ in range(rounds):
        found.append(timed(lambda: ([call() for _ in range(repeats)], wait())) / repeats)
    return statistics.median(found)


def wait_for_gpu() -> None:
    cupy.cuda.Device().synchronize()


def gradients(name: str, folder: Path, batches: tuple[int, ...] = BATCHES) -> Iterator[Record]:
    """Milliseconds of value and gradient, and how far each is from that of the CPU."""
    path = exported(name, folder)
    for batch in batches:
        u = np.random.default_rng(0).random((batch, 3, SIZE, SIZE), np.float32)
        expected = sf.value_and_grad(opened(path), sf.Class(CLASS))(u[:1])[1]
        row: Record = {"network": name, "batch": batch, "candidates": {}}
        for label, device in OURS.items():
            row["candidates"][label] = ours(path, device, u, expected)
        if has_torch():
            for label, call in of_torch(name, u).items():
                row["candidates"][label] = of_peer(call, expected)
        yield row


def ours(path: Path, device: sf.Device, u: np.ndarray, expected: np.ndarray) -> Record:
    try:
        engine = Engine(opened(path), sf.Class(CLASS), batch=len(u), device=device)
        gradient = to_host(engine(cupy.asarray(u))[1])
        seconds = seconds_of(lambda: engine(engine.image), wait_for_gpu)
    except sf.SobolevflowError as error:
        return {"error": str(error)[:300]}
    return {
        "ms": round(1e3 * seconds, 4),
        "error_to_cpu": float(f"{relative(gradient[:1], expected):.2g}"),
        "at_once": engine.at_once,
    }


def of_peer(call: Call, expected: np.ndarray) -> Record:
    import torch

    try:
        gradient = call().cpu().numpy()
        seconds = seconds_of(call, torch.cuda.synchronize)
    except Exception as error:  # of a peer: it is noted, and the others go on
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {
        "ms": round(1e3 * seconds, 4),
        "error_to_cpu": float(f"{relative(gradient[:1], expected):.2g}"),
    }


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def of_torch(name: str, u: np.ndarray) -> dict[str, Call]:
    import torch

    from tests.support import torch_networks

    def switched(call: Call, tf32: bool) -> Call:
        def run() -> Any:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            return call()

        return run

    torch.backends.cudnn.benchmark = True
    found = {}
    for tf32 in (False, True):
        suffix = ", TF32" if tf32 else ""
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        networks = [torch_networks.build(name).cuda() for _ in range(3)]
        x = torch.as_tensor(u, device="cuda")
        found[f"PyTorch{suffix}"] = switched(gradient_of(networks[0], x), tf32)
        found[f"torch.compile{suffix}"] = switched(gradient_of(torch.compile(networks[1]), x), tf32)
        found[f"PyTorch, CUDA graph{suffix}"] = captured(gradient_of(networks[2], x))
    return found


def gradient_of(network: Any, x: Any) -> Call:
    import torch

    image = x.clone().requires_grad_(True)

    def call() -> Any:
        (gradient,) = torch.autograd.grad(network(image)[:, CLASS].sum(), image)
        return gradient

    return call


def captured(call: Call) -> Call:
    """The call as a CUDA graph that is replayed."""
    import torch

    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(aside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Any:
        graph.replay()
        return result

    return replay


# -- the whole run


def whole_run(
    name: str, folder: Path, batch: int, schemes: dict[str, dict[str, Any]] | None = None, steps: int = STEPS
) -> list[Record]:
    """Descents of so many steps, and the share of their time that is not the network's."""
    net, rows = opened(exported(name, folder)), []
    objective, device = sf.Class(CLASS), sf.Device("cuda")
    engine = Engine(net, objective, batch=batch, device=device)
    engine(cupy.full(engine.shape, 0.5, np.float32))
    alone = steps * seconds_of(lambda: engine(engine.image), wait_for_gpu)
    for label, given in (SCHEMES if schemes is None else schemes).items():
        results: list[Any] = []

        def run(given: dict[str, Any] = given, results: list[Any] = results) -> None:
            found = sf.visualize(
                net, objective, steps=steps, batch=batch, device=device, progress=False, **given
            )
            results.append(found)

        run()
        seconds = [timed(run) for _ in range(3)]
        whole = statistics.median(seconds)
        rows.append(
            {
                "network": name,
                "batch": batch,
                "steps": steps,
                "scheme": label,
                "seconds": round(whole, 4),
                "network_alone": round(alone, 4),
                "share_not_network": round(max(0.0, 1 - alone / whole), 4),
                "notes": list(results[-1].notes),
            }
        )
    return rows


def report(rows: list[Record]) -> str:
    """One line for each run."""
    return "\n".join(
        f"{r['network']} x {r['batch']}, {r['scheme']}: {r['seconds']:.2f} s, "
        f"{r['share_not_network']:.1%} not the network"
        for r in rows
    )
