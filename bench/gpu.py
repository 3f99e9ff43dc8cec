"""Everything on an NVIDIA GPU: filters, total variation, gradients and whole descents, beside their peers.

    python bench/gpu.py                    # tests, then all of it; writes bench/results/gpu-<card>.json
    python bench/gpu.py --only networks    # gradients and descents; the rest of the record stays
    python bench/gpu.py --sweep            # other tiles of the finite kernels, to choose from; writes nothing

The tests marked gpu run first, and nothing is timed if one fails; --no-tests leaves them out. Peers are CuPy,
cuCIM and PyTorch, as far as they are there; networks are exported by torchvision, or lie in --folder.

Candidates run alternately. A time is that of many calls between two events of the device, divided by
their number, the median of the rounds; "graph" is the same for replays of a CUDA graph of one call.
Peers are compared with ours first. Arrays of (8, 3, 224, 224) stay in the cache of a large card, for the
copy as well. CuPy pads at half-samples; for PyTorch the picture is indexed by hand, within the time.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import math
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import cupy
import gpu_networks
import numpy as np
from filters import convolutions_of_pytorch, gaussian
from generated import Record, installed, machine, read_record, write_record
from numba import cuda
from paths import RESULTS, ROOT
from timing import Call, in_turn, median, timed

from sobolevflow.experiments.benchmark import ALL_SHAPES, COPY, FILTERS, TV_WEIGHTS, noisy, throughput
from sobolevflow.filters import Filter
from sobolevflow.filters.convolution import _planned
from sobolevflow.kernels.cuda import convolution as convolution_cuda
from sobolevflow.total_variation import prox

GAUSS, FINITE, EXACT, PRODUCT = FILTERS
CAPTURED = (COPY, GAUSS, FINITE, PRODUCT)
BATCH = 4e-3  # seconds of work between two events
TV_SHAPES = (ALL_SHAPES[0], ALL_SHAPES[2])
TV_ITERATIONS = 200  # of the calls that tell what one iteration takes
TV_BYTES = 28  # a pixel and iteration: f, u and both parts of p are read, u and p written
TILES = [
    convolution_cuda.Tile(across, down, pixels)
    for across, down, pixels in itertools.product((32, 64, 128, 256), (1, 2, 4, 8), (8, 12, 16))
    if 128 <= across * down <= 256
]


# -- what is compared


def candidates(x: Any) -> dict[str, Call]:
    """Calls on the array `x` (N, C, H, W); peers carry the name of ours that they stand beside."""
    out = cupy.empty_like(x)
    found: dict[str, Call] = {COPY: lambda: cupy.copyto(out, x)}
    found |= {name: _ours(f, x, out) for name, f in FILTERS.items()}
    return found


def _ours(f: Filter, x: Any, out: Any) -> Call:
    return lambda: f(x, out=out)


def peers(x: Any) -> dict[str, tuple[str, Call]]:
    """What other libraries have for the finite filters: label, (ours, call)."""
    return {**of_cupy(x), **of_cucim(x), **of_pytorch(x)} if x.dtype == np.float32 else {}


def of_cupy(x: Any) -> dict[str, tuple[str, Call]]:
    from cupyx.scipy import ndimage

    sigma, taps = gaussian()
    reach, out = len(taps) // 2, cupy.empty_like(x)
    window = cupy.asarray(FILTERS[FINITE].kernel().astype(np.float32))[None, None]
    return {
        "cupyx gaussian_filter": (
            GAUSS,
            lambda: ndimage.gaussian_filter(
                x, (0, 0, sigma, sigma), mode="reflect", truncate=reach / sigma, output=out
            ),
        ),
        "cupyx convolve": (FINITE, lambda: ndimage.convolve(x, window, mode="reflect", output=out)),
    }


def of_cucim(x: Any) -> dict[str, tuple[str, Call]]:
    try:
        from cucim.skimage.filters import gaussian as smooth
    except ImportError:
        return {}
    sigma, taps = gaussian()
    truncate = len(taps) // 2 / sigma
    given: dict[str, Any] = {"mode": "reflect", "truncate": truncate, "preserve_range": True}
    return {"cuCIM gaussian": (GAUSS, lambda: smooth(x, (0, 0, sigma, sigma), **given))}


def of_pytorch(x: Any) -> dict[str, tuple[str, Call]]:
    if not gpu_networks.has_torch():
        return {}
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    planes = torch.as_tensor(x, device="cuda").reshape(-1, *x.shape[-2:])
    separable, dense = convolutions_of_pytorch(planes)
    return {"PyTorch conv2d, separable": (GAUSS, separable), "PyTorch conv2d, dense": (FINITE, dense)}


def difference(ours: Filter, x: Any, call: Call) -> float:
    """Largest difference of a peer's result from ours."""
    return float(cupy.abs(ours(x) - cupy.asarray(call()).reshape(x.shape)).max())


# -- measuring


def seconds_of(call: Call, stream: Any, repeats: int) -> float:
    """Seconds of a call, from `repeats` of them between two events."""
    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    start.record(stream)
    for _ in range(repeats):
        call()
    stop.record(stream)
    stop.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, stop)) / 1e3 / repeats


def alternate(calls: dict[str, Call], stream: Any, rounds: int) -> dict[str, float]:
    """Median seconds of each call."""
    clocks = {}
    for label, call in calls.items():
        call()
        stream.synchronize()
        repeats = max(1, min(200, int(BATCH / max(1e-6, seconds_of(call, stream, 3)))))
        clocks[label] = functools.partial(seconds_of, call, stream, repeats)
    return {label: median(times) for label, times in in_turn(clocks, rounds).items()}


def replays(calls: dict[str, Call], stream: Any) -> dict[str, Call]:
    """For each of the calls, one that replays it from a CUDA graph."""
    graphs = {}
    for label, call in calls.items():
        call()
        stream.synchronize()
        stream.begin_capture()
        call()
        graphs[label] = stream.end_capture()
    return {label: functools.partial(graph.launch, stream) for label, graph in graphs.items()}


def speed(shape: tuple[int, ...], dtype: Any, rounds: int) -> Record:
    x = cupy.asarray(np.random.default_rng(0).random(shape, np.float32)).astype(dtype)
    row: Record = {"shape": list(shape), "dtype": np.dtype(dtype).name, "candidates": {}}
    with cupy.cuda.Stream(non_blocking=True) as stream:
        ours = candidates(x)
        captured = alternate(replays({k: ours[k] for k in CAPTURED}, stream), stream, rounds)
        plain = alternate(ours, stream, rounds)
    others = peers(x)
    for label, (name, call) in others.items():
        row["candidates"][label] = {"filter": name, "difference": difference(FILTERS[name], x, call)}
    if others:  # PyTorch's are on the default stream, which is not to be mixed with the other
        plain |= alternate({k: call for k, (_, call) in others.items()}, cupy.cuda.Stream.null, rounds)
    for label, seconds in plain.items():
        found = row["candidates"].setdefault(label, {"filter": label})
        found |= facts(seconds, plain[COPY], x)
        if label in captured:
            found["graph"] = facts(captured[label], captured[COPY], x)
    print(json.dumps(row), flush=True)
    return row


def facts(seconds: float, copy: float, x: Any) -> Record:
    found = throughput(seconds, x.shape, x.itemsize, copy)
    return {
        "us": round(1e3 * found["ms"], 2),
        "ns_per_pixel": float(f"{found['ns_per_pixel']:.4g}"),
        "gb_per_s": round(found["gb_per_s"], 1),
        "percent_of_copy": round(found["percent_of_copy"], 1),
    }


def total_variation(shape: tuple[int, ...], rounds: int) -> list[Record]:
    """The proximal map of total variation to its default tolerance, and what an iteration takes."""
    f = cupy.asarray(noisy(shape).astype(np.float32))
    out, rows = cupy.empty_like(f), []
    with cupy.cuda.Stream(non_blocking=True) as stream:
        copy = alternate({COPY: lambda: cupy.copyto(out, f)}, stream, rounds)[COPY]
        each = wall_clock(lambda: prox(f, 0.1, 1e-12, TV_ITERATIONS), stream, rounds) / TV_ITERATIONS
        for weight in TV_WEIGHTS:
            found = prox(f, weight)
            seconds = wall_clock(functools.partial(prox, f, weight), stream, rounds)
            rows.append(
                {
                    "shape": list(shape),
                    "weight": weight,
                    "iterations": round(float(found.iterations.mean()), 1),
                    "converged": bool(found.converged.all()),
                    "ms": float(f"{1e3 * seconds:.4g}"),
                    "us_per_iteration": float(f"{1e6 * each:.4g}"),
                    "percent_of_copy": round(100 * copy / each * TV_BYTES / (2 * f.itemsize), 1),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def iterations_of_peers(shape: tuple[int, ...], rounds: int) -> list[Record]:
    """What an iteration of total variation takes elsewhere: Chambolle's of cuCIM, and one in PyTorch."""
    f = noisy(shape).astype(np.float32)
    calls: dict[str, Call] = {}
    with contextlib.suppress(ImportError):
        from cucim.skimage.restoration import denoise_tv_chambolle

        planes = list(cupy.asarray(f).reshape(-1, *shape[-2:]))
        calls["cuCIM denoise_tv_chambolle"] = lambda: [
            denoise_tv_chambolle(plane, weight=0.1, eps=0, max_num_iter=TV_ITERATIONS) for plane in planes
        ]
    if gpu_networks.has_torch():
        import torch

        calls["PyTorch"] = functools.partial(iterate_in_torch, torch.as_tensor(f, device="cuda"))
    rows = []
    for label, call in calls.items():
        each = wall_clock(call, cupy.cuda.Stream.null, rounds) / TV_ITERATIONS
        rows.append({"shape": list(shape), "peer": label, "us_per_iteration": float(f"{1e6 * each:.4g}")})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def iterate_in_torch(f: Any, weight: float = 0.1, tau: float = 0.25) -> Any:
    """The iteration of Chambolle and Pock for isotropic total variation, in plain PyTorch."""
    import torch

    u = ahead = f.clone()
    down, right = torch.zeros_like(f), torch.zeros_like(f)
    for _ in range(TV_ITERATIONS):
        down[..., :-1, :] += 0.5 * (ahead[..., 1:, :] - ahead[..., :-1, :])
        right[..., :-1] += 0.5 * (ahead[..., 1:] - ahead[..., :-1])
        size = torch.clamp(torch.sqrt(down**2 + right**2) / weight, min=1)
        down, right = down / size, right / size
        divergence = down + right
        divergence[..., 1:, :] -= down[..., :-1, :]
        divergence[..., 1:] -= right[..., :-1]
        new = (u + tau * (divergence + f)) / (1 + tau)
        ahead, u = 2 * new - u, new
    torch.cuda.synchronize()
    return u


def wall_clock(call: Call, stream: Any, rounds: int) -> float:
    """Median seconds of a call that waits for its own result."""

    def clock() -> float:
        stream.synchronize()
        return timed(lambda: (call(), stream.synchronize()))

    call()
    return median(in_turn({"": clock}, rounds)[""])


def sweep(shapes: list[tuple[int, ...]], rounds: int) -> None:
    """Microseconds of the finite kernels with other tiles, from graphs."""
    for shape in shapes:
        x = cupy.asarray(np.random.default_rng(0).random(shape, np.float32))
        out = cupy.empty_like(x)
        with cupy.cuda.Stream(non_blocking=True) as stream:
            calls: dict[str, Call] = {COPY: functools.partial(cupy.copyto, out, x)}
            for name in (GAUSS, FINITE):
                for tile in TILES:
                    calls[f"{name} {tile.across} x {tile.down} x {tile.pixels}"] = with_tile(
                        name, tile, x, out, stream
                    )
            times = alternate(replays(working(calls, stream), stream), stream, rounds)
        print(shape)
        for label, seconds in sorted(times.items(), key=lambda item: item[1]):
            print(f"  {1e6 * seconds:9.2f} us {100 * times[COPY] / seconds:6.1f} %  {label}", flush=True)


def with_tile(name: str, tile: convolution_cuda.Tile, x: Any, out: Any, stream: Any) -> Call:
    method: Any = _planned(FILTERS[name], *x.shape[-2:], x.dtype, True)
    flat = (cuda.as_cuda_array(a.reshape(-1), sync=False) for a in (x, out))
    taps = (cuda.as_cuda_array(cupy.asarray(a), sync=False) for a in method._coefficients())
    columns, rows = (*taps, None)[:2]
    shape = (x.size // math.prod(x.shape[-2:]), *x.shape[-2:])
    queue = cuda.external_stream(stream.ptr)
    arguments: Any = (*flat, shape, columns, rows, method._boundary, queue, tile)
    return functools.partial(convolution_cuda.convolve, *arguments)


def working(calls: dict[str, Call], stream: Any) -> dict[str, Call]:
    """Those that fit into the device's shared memory and registers."""
    found = {}
    for label, call in calls.items():
        try:
            call()
            stream.synchronize()
        except Exception as error:
            print(f"  {label}: {type(error).__name__}")
            continue
        found[label] = call
    return found


def device() -> Record:
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "card": properties["name"].decode(),
        "compute_capability": "{major}.{minor}".format(**properties),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        **machine(1, **installed("cupy-cuda13x", "cupy-cuda12x", "numba-cuda", "torch")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sweep", action="store_true", help="compare tiles of the finite kernels")
    parser.add_argument("--record", type=Path, help="where figures are kept")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts anew")
    parser.add_argument("--folder", type=Path, help="exported networks, vgg19.onnx and so on; kept there")
    parser.add_argument(
        "--networks", nargs="+", choices=gpu_networks.NETWORKS, default=list(gpu_networks.NETWORKS)
    )
    parser.add_argument("--no-tests", action="store_true", help="do not run the tests first")
    options = parser.parse_args()
    if options.sweep:
        sweep([ALL_SHAPES[0], ALL_SHAPES[2]], options.rounds)
        return
    if not options.no_tests:
        test()
    at = device()
    path = options.record or RESULTS / f"gpu-{at['card'].lower().replace(' ', '-')}.json"
    record = read_record(path)
    with tempfile.TemporaryDirectory() as temporary:
        for part in options.only:
            record |= PARTS[part](options, options.folder or Path(temporary))
            record |= {"date": date.today().isoformat(), "machine": at}
            write_record(path, record)  # what there is, should a later part fail
    print(path)


def test() -> None:
    """Run the tests that need a GPU; what is wrong is not worth timing."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(ROOT / "tests")]
    if subprocess.run(command, check=False).returncode:
        sys.exit("The tests fail; nothing has been timed.")


def of_filters(options: argparse.Namespace, folder: Path) -> Record:
    rows = [speed(shape, np.float32, options.rounds) for shape in ALL_SHAPES]
    return {"speed": rows + [speed(ALL_SHAPES[i], np.float16, options.rounds) for i in (0, 2)]}


def of_total_variation(options: argparse.Namespace, folder: Path) -> Record:
    return {
        "total_variation": [row for shape in TV_SHAPES for row in total_variation(shape, options.rounds)],
        "total_variation_peers": [
            row for shape in TV_SHAPES for row in iterations_of_peers(shape, options.rounds)
        ],
    }


def of_networks(options: argparse.Namespace, folder: Path) -> Record:
    rows = []
    for name in options.networks:
        for row in gpu_networks.gradients(name, folder):
            rows.append(row)
            print(json.dumps(row), flush=True)
    return {"gradients": rows}


def of_descents(options: argparse.Namespace, folder: Path) -> Record:
    rows = [row for batch in (1, 8) for row in gpu_networks.whole_run("vgg19", folder, batch)]
    print(gpu_networks.report(rows), flush=True)
    return {"descents": rows}


PARTS = {
    "filters": of_filters,
    "total-variation": of_total_variation,
    "networks": of_networks,
    "descents": of_descents,
}


if __name__ == "__main__":
    main()
