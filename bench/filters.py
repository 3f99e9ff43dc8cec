"""Filters of this project, OpenCV, SciPy, scikit-image, PyTorch and ITK, beside a copy of the same array.

    python bench/filters.py                       # all of it, about half an hour on two cores
    python bench/filters.py --only speed --shapes 8x3x224x224 --rounds 5
    python bench/filters.py --only page           # docs/filters.md from the committed record

Candidates run alternately in one process, two threads each, float32, boundary reflect (half-sample),
each timed call after a pause and one untimed call; slow ones take part in fewer rounds. Before that every
result is compared with ours: a peer that is another operator stands here with how far it is off.
PyTorch has no half-sample padding, so that it is indexed by hand, within the timed call. ITK's images are
made before it. Writes bench/results/filters.json, the tables of docs/filters.md, and
docs/images/filters-roofline.png.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from generated import (
    Parts,
    Record,
    installed,
    machine,
    merged,
    read_record,
    table,
    write_pages,
    write_record,
)
from numpy.typing import NDArray
from paths import DOCS, GPU_RECORDS, IMAGES, RESULTS
from timing import Shape, alternate, median, parsed_shape, ratio, spelt, timed

from sobolevflow.experiments.benchmark import ALL_SHAPES, COPY, FILTERS, numba_threads, throughput
from sobolevflow.filters import Filter, Gaussian, Sobolev

RECORD, PAGE = RESULTS / "filters.json", DOCS / "filters.md"
ROOFLINE = IMAGES / "filters-roofline.png"
THREADS = 2
LARGEST_DENSE_TORCH = 2**25  # values; beyond, PyTorch may unfold windows into tens of gigabytes
GAUSS, FINITE, EXACT, PRODUCT = FILTERS
OPENCV, OPENCV_DENSE, DCT = "OpenCV GaussianBlur", "OpenCV filter2D", "scipy.fft DCT solve"
# ours, a peer, and how many times faster we want to be at 224 x 224 and from 2048 x 2048
AIMS = (
    (GAUSS, OPENCV, 3.0, 2.0),
    (FINITE, OPENCV_DENSE, 3.0, 3.0),
    (FINITE, OPENCV, 1.0, 1.0),
    (EXACT, DCT, 1.5, 2.5),
)
NOT_MEASURED = "Not measured yet: `python bench/filters.py`."
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A call that filters one fixed array, which of our filters it is to equal, and within what."""

    call: Callable[[], Any]
    ours: str
    tolerance: float | None = 1e-5  # of max |difference| on [0, 1]; None: another operator, only stated


# -- what is compared


def candidates(x: Floats) -> dict[str, Candidate]:
    """A call for each candidate on the array `x` (N, C, H, W)."""
    out = np.empty_like(x)
    found = {COPY: Candidate(lambda: np.copyto(out, x), COPY)}
    found |= {name: Candidate(_ours(f, x, out), name) for name, f in FILTERS.items()}
    planes = x.reshape(-1, *x.shape[-2:])
    for peers in (opencv, scipy_and_skimage, pytorch, itk):
        found |= peers(planes)
    return found


def _ours(f: Filter, x: Floats, out: Floats) -> Callable[[], Any]:
    return lambda: f(x, out=out)


def gaussian() -> tuple[float, Floats]:
    """Sigma of the Gaussian that is compared, and its taps along one axis."""
    f = FILTERS[GAUSS]
    assert isinstance(f, Gaussian)
    assert isinstance(f.sigma, float)
    return f.sigma, f.kernel().sum(axis=0).astype(np.float32)


def opencv(planes: Floats) -> dict[str, Candidate]:
    import cv2

    cv2.setNumThreads(THREADS)
    sigma, taps = gaussian()
    window = FILTERS[FINITE].kernel().astype(np.float32)
    out, border = np.empty_like(planes), cv2.BORDER_REFLECT

    def each(function: Callable[[Floats, Floats], Any]) -> Callable[[], Floats]:
        def call() -> Floats:
            for source, target in zip(planes, out, strict=True):
                function(source, target)
            return out

        return call

    return {
        OPENCV: Candidate(
            each(
                lambda s, t: cv2.GaussianBlur(
                    s, (len(taps), len(taps)), sigma, dst=t, sigmaY=sigma, borderType=border
                )
            ),
            GAUSS,
        ),
        "OpenCV sepFilter2D": Candidate(
            each(lambda s, t: cv2.sepFilter2D(s, -1, taps, taps, dst=t, borderType=border)), GAUSS
        ),
        OPENCV_DENSE: Candidate(
            each(lambda s, t: cv2.filter2D(s, -1, window, dst=t, borderType=border)), FINITE
        ),
    }


def scipy_and_skimage(planes: Floats) -> dict[str, Candidate]:
    from scipy import fft, ndimage
    from skimage import filters

    sigma, taps = gaussian()
    radius = len(taps) // 2
    h, w = planes.shape[1:]
    response = FILTERS[EXACT].response(h, w).astype(np.float32)
    out = np.empty_like(planes)

    def solve() -> Any:
        spectrum = fft.dctn(planes, axes=(1, 2), workers=THREADS)
        spectrum *= response
        return fft.idctn(spectrum, axes=(1, 2), workers=THREADS, overwrite_x=True)

    return {
        "scipy.ndimage gaussian_filter": Candidate(
            lambda: ndimage.gaussian_filter(
                planes, sigma, mode="reflect", radius=radius, axes=(1, 2), output=out
            ),
            GAUSS,
        ),
        "skimage gaussian": Candidate(
            lambda: filters.gaussian(
                planes, sigma, mode="reflect", truncate=radius / sigma, channel_axis=0, preserve_range=True
            ),
            GAUSS,
        ),
        DCT: Candidate(solve, EXACT),
    }


def pytorch(planes: Floats) -> dict[str, Candidate]:
    import torch

    torch.set_num_threads(THREADS)
    separable, dense = convolutions_of_pytorch(torch.from_numpy(planes))
    found = {"PyTorch conv2d, separable": Candidate(separable, GAUSS)}
    if planes.size <= LARGEST_DENSE_TORCH:
        found["PyTorch conv2d, dense"] = Candidate(dense, FINITE)
    return found


def convolutions_of_pytorch(planes: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The two finite filters on a tensor (P, H, W) of any device, separably and as a window."""
    import torch

    x = planes[:, None]
    taps = torch.from_numpy(gaussian()[1]).to(x.device)
    window = torch.from_numpy(FILTERS[FINITE].kernel().astype(np.float32)).to(x.device)
    rows, columns = (
        torch.from_numpy(np.pad(np.arange(n), len(taps) // 2, mode="symmetric")).to(x.device)
        for n in planes.shape[1:]
    )
    conv = torch.nn.functional.conv2d

    def separable() -> Any:
        along_y = conv(x.index_select(2, rows), taps[None, None, :, None])
        return conv(along_y.index_select(3, columns), taps[None, None, None, :])

    def dense() -> Any:
        return conv(x.index_select(2, rows).index_select(3, columns), window[None, None])

    return separable, dense


def itk(planes: Floats) -> dict[str, Candidate]:
    import SimpleITK as sitk  # noqa: N813  (its customary name)

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    sigma, _ = gaussian()
    images = [sitk.GetImageFromArray(plane) for plane in planes]

    def call() -> Any:
        return [sitk.SmoothingRecursiveGaussian(image, sigma) for image in images]

    return {"ITK recursive Gaussian": Candidate(call, GAUSS, tolerance=None)}


def result(candidate: Candidate, shape: Shape) -> Floats:
    """What a candidate computes, as an array of `shape`."""
    found = candidate.call()
    if isinstance(found, list):
        import SimpleITK as sitk  # noqa: N813

        found = np.stack([sitk.GetArrayFromImage(image) for image in found])
    return np.array(found, np.float32).reshape(shape)


def differences(found: dict[str, Candidate], shape: Shape) -> dict[str, float]:
    """Largest difference of each peer from our filter; AssertionError where it should be the same."""
    ours, off = "", {}
    expected = np.empty(0, np.float32)
    for label, candidate in sorted(found.items(), key=lambda item: item[1].ours):
        if candidate.ours == COPY or label in FILTERS:
            continue
        if candidate.ours != ours:
            ours, expected = candidate.ours, result(found[candidate.ours], shape)
        off[label] = float(np.abs(result(candidate, shape) - expected).max())
        assert candidate.tolerance is None or off[label] <= candidate.tolerance, (label, off[label])
    return off


# -- measuring


def speed(shape: Shape, rounds: int) -> Record:
    x = np.random.default_rng(0).random(shape, np.float32)
    found = candidates(x)
    off = differences(found, shape)
    seconds = alternate({label: candidate.call for label, candidate in found.items()}, rounds)
    medians = {label: median(t) for label, t in seconds.items()}
    row = {
        "shape": list(shape),
        "candidates": {
            label: {
                "filter": found[label].ours,
                **{k: float(f"{v:.4g}") for k, v in throughput(t, shape, 4, medians[COPY]).items()},
                "rounds": len(seconds[label]),
                **({"difference": float(f"{off[label]:.1e}")} if label in off else {}),
            }
            for label, t in medians.items()
        },
        "times_faster": [
            {"ours": ours, "peer": peer, "ratio": round(ratio(seconds[peer], seconds[ours]), 2)}
            for ours, peer, *_ in AIMS
        ],
        "plans": {name: plan_facts(f, shape) for name, f in FILTERS.items()},
    }
    print(json.dumps(row), flush=True)
    return row


def plan_facts(f: Filter, shape: Shape) -> Record:
    plan = f.plan(shape, np.float32)
    return {"method": plan.method, "rank": plan.rank, "flops": plan.flops, "error_bound": plan.error_bound}


def allocation(name: str, shape: Shape) -> int:
    """Bytes that a call with out= allocates at its peak, as far as Python and NumPy allocate them."""
    x = np.random.default_rng(0).random(shape, np.float32)
    out = np.empty_like(x)
    FILTERS[name](x, out=out)
    tracemalloc.start()
    FILTERS[name](x, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def first_calls(name: str) -> Record:
    """Seconds of the first call in a new process, before and after Numba has cached the kernel on disk."""
    with tempfile.TemporaryDirectory() as cache:
        cold, cached = (in_own_process(name, cache) for _ in range(2))
    row = {
        "filter": name,
        "cold_s": round(cold, 2),
        "cached_s": round(cached, 3),
        "allocated_bytes": allocation(name, ALL_SHAPES[0]),
    }
    print(row, flush=True)
    return row


def in_own_process(name: str, cache: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--child", name],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
    )
    return float(done.stdout.splitlines()[-1])


def child(name: str) -> float:
    """Seconds of the first call; imports are no part of it."""
    x = np.random.default_rng(0).random(ALL_SHAPES[0], np.float32)
    return timed(lambda: FILTERS[name](x))


def peak_gflops() -> float:
    """Billions of float32 operations a second of NumPy's matrix product: the roof of arithmetic."""
    n = 2048
    a = np.random.default_rng(0).random((n, n), np.float32)
    b = a.T.copy()
    a @ b
    return round(2e-9 * n**3 / min(timed(lambda: a @ b) for _ in range(5)), 1)


def facts() -> Record:
    names = ("opencv-python-headless", "scikit-image", "torch", "SimpleITK", "numba", "scipy", "numpy")
    return machine(THREADS, **installed(*names))


# -- the page


def parts(record: Record) -> Parts:
    """The generated parts of docs/filters.md; those of the record say so where there is none yet."""
    measured = {
        "machine": (machine_line, "speed"),
        "speed": (speed_table, "speed"),
        "aims": (aims_table, "speed"),
        "first": (first_table, "first"),
    }
    made = {key: make(record) if needs in record else NOT_MEASURED for key, (make, needs) in measured.items()}
    return {**made, "support": support_table(), "plans": plans_table(), "gpu": gpu_tables()}


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def support_table() -> str:
    """The paper's support rule: the strengths that a window carries."""
    rows = []
    for size in (5, 7, 9, 11, 15, 21, 31):
        gammas = [Sobolev(size, order=order).gamma for order in (0.5, 1, 2)]
        rows.append([str(size), f"{Gaussian(size).sigma:.3f}", *(f"{gamma:.3f}" for gamma in gammas)])
    orders = ("gamma, order 1/2", "gamma, order 1", "gamma, order 2")
    return table(["size", "sigma", *orders], *rows)


def plans_table() -> str:
    """How some filters are applied to a 224 x 224 image in float32."""
    rows = []
    for text in (
        "Gaussian(size=11)",
        "Gaussian(sigma=20)",
        "Sobolev(size=11)",
        "Sobolev(size=11, gamma=1)",
        "Sobolev(gamma=4)",
        "Sobolev(gamma=4, order=1.5)",
        "SobolevProduct(gamma=4)",
    ):
        plan = plan_of(text)
        shown = (plan.method, plan.size or "", plan.rank or "")
        bounds = (f"{plan.truncation:.1e}", f"{plan.rounding:.1e}")
        rows.append([f"`{text}`", *map(str, shown), *bounds])
    return table(["filter", "method", "taps", "rank", "truncation", "rounding"], *rows)


def plan_of(text: str) -> Any:
    """The plan of a filter written as in Python."""
    from sobolevflow import filters

    return eval(text, vars(filters)).plan((224, 224), np.float32)


def machine_line(record: Record) -> str:
    at = record["machine"]
    v = at["versions"]
    shown = {"OpenCV": "opencv-python-headless", "SciPy": "scipy", "scikit-image": "scikit-image"}
    shown |= {"PyTorch": "torch", "SimpleITK": "SimpleITK", "Numba": "numba", "Python": "python"}
    listed = ", ".join(f"{name} {v[key]}" for name, key in shown.items())
    return (
        f"{record['date']}, {at['processor']} ({at['instructions']}), {at['cores']} cores, "
        f"{at['threads']} threads, float32, reflect. {listed}."
    )


def speed_table(record: Record) -> str:
    """Nanoseconds a pixel, then of the copy's bandwidth, for every candidate and shape."""
    rows = record["speed"]
    labels = sorted(
        {label for row in rows for label in row["candidates"]},
        key=lambda label: list(rows[0]["candidates"]).index(label) if label in rows[0]["candidates"] else 99,
    )
    groups = {
        label: next(r["candidates"][label]["filter"] for r in rows if label in r["candidates"])
        for label in labels
    }
    heading = [
        "operator",
        "by",
        *(f"{spelt(row['shape'])}: ns/pixel, GB/s, % of copy" for row in rows),
        "off ours by",
    ]
    body = []
    for group in (COPY, *FILTERS):
        for label in labels:
            if groups[label] == group:
                cells = [_cell(row["candidates"].get(label)) for row in rows]
                off = [r["candidates"][label].get("difference") for r in rows if label in r["candidates"]]
                by = "NumPy" if label == COPY else "**sobolevflow**" if label in FILTERS else label
                most = "" if off[0] is None else f"{max(off):.0e}"
                body.append([group, by, *cells, most])
    return table(heading, *body)


def _cell(facts: Record | None) -> str:
    if facts is None:
        return ""
    return f"{facts['ns_per_pixel']:.2f}, {facts['gb_per_s']:.1f}, {facts['percent_of_copy']:.0f}"


def aims_table(record: Record) -> str:
    rows = record["speed"]
    body = []
    for k, (ours, peer, small, large) in enumerate(AIMS):
        cells = []
        for row in rows:
            aim = small if max(row["shape"][-2:]) < 2048 else large
            cells.append(f"{row['times_faster'][k]['ratio']:.2f} (aim {aim:g})")
        body.append([ours, peer, *cells])
    return table(["ours", "times faster than", *(spelt(row["shape"]) for row in rows)], *body)


def first_table(record: Record) -> str:
    body = [
        [r["filter"], f"{r['cold_s']:.1f}", f"{r['cached_s']:.2f}", f"{r['allocated_bytes'] / 1024:.1f}"]
        for r in record["first"]
    ]
    return table(["filter", "first call ever, s", "from the disk cache, s", "allocated a call, KiB"], *body)


def gpu_tables() -> str:
    """For each card that bench/gpu.py has been run on: microseconds and percent of a copy."""
    records = [read_record(path) for path in GPU_RECORDS]
    return "\n\n".join(gpu_table(record) for record in records if "speed" in record) or NOT_MEASURED


def gpu_table(record: Record) -> str:
    at, rows = record["machine"], record["speed"]
    heading = ["", *(f"{spelt(row['shape'])}, {row['dtype']}" for row in rows)]
    # ours in the order of FILTERS, each with the peers that do the same
    labels = [COPY, *FILTERS, *(label for label in rows[0]["candidates"] if label not in (COPY, *FILTERS))]
    body = []
    for label in labels:
        found = [row["candidates"].get(label, {}) for row in rows]
        if any("graph" in facts for facts in found):
            body.append([f"{label}, in a graph", *(_gpu_cell(facts.get("graph", {})) for facts in found)])
        body.append([label, *map(_gpu_cell, found)])
    caption = f"{at['card']}, CuPy {at['versions']['cupy']}, {record['date']}:"
    return f"{caption}\n\n{table(heading, *body)}"


def _gpu_cell(facts: Record) -> str:
    return (
        f"{facts['us']:.{1 if facts['us'] < 100 else 0}f}, {facts['percent_of_copy']:.0f} %" if facts else ""
    )


def draw_roofline(record: Record) -> None:
    """Arithmetic rate over arithmetic intensity, of ours and of OpenCV, below what the machine can do."""
    from filter_figures import COLOURS, save
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    intensity = np.geomspace(0.5, 64, 100)
    markers = dict(zip([spelt(row["shape"]) for row in record["speed"]], "osD^", strict=False))
    for row in record["speed"]:
        name = spelt(row["shape"])
        roof = np.minimum(record["peak_gflops"], row["candidates"][COPY]["gb_per_s"] * intensity)
        axes.loglog(intensity, roof, color="0.75", linewidth=1)
        for ours, colour in zip(FILTERS, COLOURS, strict=False):
            flops = row["plans"][ours]["flops"]
            rate = flops / row["candidates"][ours]["ns_per_pixel"]
            axes.loglog(flops / 8, rate, markers[name], color=colour, markersize=7)
        for ours, peer, colour in ((GAUSS, OPENCV, COLOURS[0]), (FINITE, OPENCV_DENSE, COLOURS[1])):
            flops = row["plans"][ours]["flops"]  # counted as ours, so that heights compare
            rate = flops / row["candidates"][peer]["ns_per_pixel"]
            axes.loglog(flops / 8, rate, markers[name], color=colour, markersize=7, fillstyle="none")
    for ours, colour in zip(FILTERS, COLOURS, strict=False):
        axes.plot([], [], "o", color=colour, label=ours)
    axes.plot([], [], "o", color="0.4", fillstyle="none", label="OpenCV: GaussianBlur, filter2D")
    for name, marker in markers.items():
        axes.plot([], [], marker, color="0.4", label=name)
    axes.plot([], [], color="0.75", label="roof: copy, matrix product")
    axes.set(xlabel="operations for each byte read or written once", ylabel="billions of operations a second")
    axes.legend(fontsize=8, frameon=False)
    save(figure, ROOFLINE)


def measured(wanted: list[str], shapes: list[Shape], rounds: int) -> Iterator[tuple[str, str, list[Record]]]:
    """Name of the section, key of its rows, rows."""
    if "speed" in wanted:
        yield "speed", "shape", [speed(shape, rounds) for shape in shapes]
    if "first" in wanted:
        yield "first", "filter", [first_calls(name) for name in FILTERS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shapes", nargs="+", type=parsed_shape, default=list(ALL_SHAPES), metavar="NxCxHxW")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", nargs="+", choices=("speed", "first", "roofline", "page"))
    parser.add_argument("--page", action="store_true", help="the same as --only page")
    parser.add_argument("--record", type=Path, default=RECORD, help="where figures are kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(child(options.child))
        return
    wanted = options.only or (["page"] if options.page else ["speed", "first", "roofline", "page"])
    record = read_record(options.record)
    with numba_threads(THREADS):
        for section, key, rows in measured(wanted, options.shapes, options.rounds):
            record[section] = merged(record.get(section, []), rows, key)
            record |= {"date": date.today().isoformat(), "machine": facts(), "peak_gflops": peak_gflops()}
            write_record(options.record, record)
    if "roofline" in wanted and "speed" in record:
        draw_roofline(record)
    if "page" in wanted:
        write_pages("filters.py", {PAGE: parts(record)})


if __name__ == "__main__":
    main()
