"""Total variation of this project beside scikit-image, pyproximal, deepinv and OpenCV.

    python bench/total_variation.py                  # all of it, about an hour on two cores
    python bench/total_variation.py --only speed --shapes 1x1x224x224
    python bench/total_variation.py --only page      # docs/total_variation.md from the committed record

Photographs that scikit-image ships, with noise of 0.05, float32, two threads each. Every solver is run to the
same *measured* relative suboptimality, (E(u) - min E) / (weight TV(f)), where min E is the value of the dual
problem that our float64 solution to 1e-6 certifies. The others are told the fewest iterations that reach it,
found beforehand, and test nothing; ours is told the tolerance, and stops by its duality gap, which costs time
and stops late, never early. What would take longer than --most-seconds a call is run for about that long, and
stands here with what it has reached. Solvers of a single image are called for each plane.

deepinv takes part where it is installed; it asks for a torchvision that has no build without CUDA:

    pip install einops h5py natsort torchmetrics tqdm; pip install --no-deps deepinv==0.5.0

proxTV has no wheel for Python 3.11 and newer, and its source does not build against current headers.
Writes bench/results/total_variation.json, the tables of docs/total_variation.md and its pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
from paths import DOCS, GPU_RECORDS, RESULTS
from timing import Shape, alternate, median, parsed_shape, ratio, spelt, timed

from sobolevflow.experiments.benchmark import numba_threads
from sobolevflow.total_variation import Prox, State, prox, prox_tgv, value

RECORD, PAGE = RESULTS / "total_variation.json", DOCS / "total_variation.md"
SHAPES: tuple[Shape, ...] = ((1, 1, 224, 224), (8, 3, 224, 224), (1, 1, 2048, 2048))
WEIGHTS = (0.02, 0.1, 0.5)
TARGETS = (1e-2, 1e-3, 1e-4)
NOISE = 0.05
THREADS, ROUNDS, LEAST_ROUNDS, BUDGET = 2, 15, 2, 3.0
MOST_SECONDS = 12.0
MOST_ITERATIONS = 50_000
CLOSE = 1.1  # a number of iterations is fewest if one this many times smaller is too small
NEAR = 0.8  # a series that has not improved by this factor over a doubling has stalled
OURS = "sobolevflow"
CHAMBOLLE, BREGMAN = "skimage denoise_tv_chambolle", "skimage denoise_tv_bregman"
SKIMAGE = (CHAMBOLLE, BREGMAN)
PYPROXIMAL, DEEPINV, TVL1 = "pyproximal TV", "deepinv TVDenoiser", "OpenCV denoise_TVL1"
AIM_TARGET, AIM_OTHERS, AIM_NS = 1e-3, 5.0, 2.0
AIM_SKIMAGE = {0.02: 6.0, 0.1: 15.0, 0.5: 15.0}
DRIFTS = (0.002, 0.01, 0.05)
NOT_MEASURED = "Not measured yet: `python bench/total_variation.py`."
NOT_ON_A_CARD = (
    "Not measured on a card yet: `python bench/gpu.py`. The kernels are run in a simulator and compiled."
)
Floats = NDArray[np.float32]
Run = Callable[[int], Floats]
"""So many iterations of a solver on a stack of planes (P, H, W), from its own cold start."""


# -- what is solved, and by whom


def noisy_planes(shape: Shape) -> Floats:
    """Planes (N C, H, W) of photographs in [0, 1] with noise."""
    from skimage import data, transform

    *_, h, w = shape
    if math.prod(shape[:-2]) == 1 and h <= 512:
        clean = data.camera()[None, 100 : 100 + h, 150 : 150 + w] / 255
    elif math.prod(shape[:-2]) == 1:
        clean = transform.resize(data.camera() / 255, (h, w), order=3)[None]
    else:
        clean = np.concatenate([_crop(i, h, w) for i in range(shape[0])])
    noise = np.random.default_rng(0).normal(0, NOISE, clean.shape)
    return np.asarray(np.clip(clean + noise, 0, 1), np.float32)


def _crop(i: int, h: int, w: int) -> Any:
    """The i-th part of a few colour photographs, its channels first."""
    from skimage import data

    photograph = [data.astronaut(), data.coffee(), data.chelsea()][i % 3] / 255
    y, x = 17 * i % (photograph.shape[0] - h), 29 * i % (photograph.shape[1] - w)
    return np.moveaxis(photograph[y : y + h, x : x + w], -1, 0)


def solvers(planes: Floats, weight: float) -> dict[str, Run]:
    """The peers that solve the same problem, each told how many iterations to make."""
    found = of_skimage(planes, weight) | of_pyproximal(planes, weight)
    with contextlib.suppress(ImportError):
        found |= of_deepinv(planes, weight)
    return found


def of_skimage(planes: Floats, weight: float) -> dict[str, Run]:
    from skimage.restoration import denoise_tv_bregman, denoise_tv_chambolle

    def chambolle(n: int) -> Any:
        return denoise_tv_chambolle(planes, weight, eps=0, max_num_iter=n, channel_axis=0)

    def bregman(n: int) -> Any:
        # its weight is that of the data
        return np.stack([denoise_tv_bregman(p, 1 / weight, eps=0, max_num_iter=n) for p in planes])

    return {CHAMBOLLE: chambolle, BREGMAN: bregman}


def of_pyproximal(planes: Floats, weight: float) -> dict[str, Run]:
    from pyproximal import TV

    def run(n: int) -> Any:
        operator = TV(planes.shape[1:], sigma=weight, niter=n, rtol=0)
        return np.stack([operator.prox(plane, 1.0).reshape(plane.shape) for plane in planes])

    return {PYPROXIMAL: run}


def of_deepinv(planes: Floats, weight: float) -> dict[str, Run]:
    import torch

    without_compiled_operators()
    from deepinv.models import TVDenoiser

    torch.set_num_threads(THREADS)
    y = torch.from_numpy(planes)[:, None]
    denoiser = TVDenoiser(crit=0)

    def run(n: int) -> Any:
        denoiser.n_it_max, denoiser.restart = n, True
        with torch.no_grad():
            return denoiser(y, ths=weight)[:, 0].numpy()

    return {DEEPINV: run}


def without_compiled_operators() -> None:
    """Lets torchvision be imported beside a PyTorch that it was not built for."""
    from tests.support.torch_networks import torchvision_models

    torchvision_models()


def ours(planes: Floats, weight: float, target: float) -> Prox:
    return prox(planes, weight, tol=target, max_iterations=MOST_ITERATIONS)


@dataclass(frozen=True)
class Problem:
    """Planes and a weight, with the least energy there is."""

    planes: Floats
    weight: float
    least: float = field(init=False)
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        f = self.planes.astype(np.float64)
        found = prox(f, self.weight, tol=1e-6, max_iterations=MOST_ITERATIONS)
        assert found.converged.all()
        object.__setattr__(self, "least", self.energy(found.u) - float(found.gap.sum()))
        object.__setattr__(self, "scale", self.weight * float(value(f).sum()))

    def energy(self, u: NDArray[Any]) -> float:
        u = u.astype(np.float64)
        return 0.5 * float(((u - self.planes) ** 2).sum()) + self.weight * float(value(u).sum())

    def suboptimality(self, u: NDArray[Any]) -> float:
        return (self.energy(u) - self.least) / self.scale


# -- how many iterations it takes


class Progress:
    """What a solver has reached after how many iterations, and in how many seconds; run when asked."""

    def __init__(self, problem: Problem, run: Run, most_seconds: float) -> None:
        self.problem, self.run, self.most_seconds = problem, run, most_seconds
        self.reached: dict[int, float] = {}
        self.seconds: dict[int, float] = {}

    def after(self, n: int) -> float:
        if n not in self.reached:
            found: list[Floats] = []
            self.seconds[n] = timed(lambda: found.append(self.run(n)))
            self.reached[n] = self.problem.suboptimality(found[0])
        return self.reached[n]

    def fewest(self, target: float) -> tuple[int, bool]:
        """The least number of iterations that reach `target`, or the most that are worth trying."""
        n, before = 4, 0
        while self.after(n) > target:
            stalled = before and n >= 512 and self.after(n) > NEAR * self.after(before)
            if stalled or 2 * self.seconds[n] > self.most_seconds or 2 * n > MOST_ITERATIONS:
                return n, False
            n, before = 2 * n, n
        while before and n > CLOSE * before + 1:
            middle = round(math.sqrt(n * before))
            n, before = (middle, before) if self.after(middle) <= target else (n, middle)
        return n, True


# -- measuring


def speed(shape: Shape, weight: float, most_seconds: float) -> list[Record]:
    """For each target a row."""
    problem = Problem(noisy_planes(shape), weight)
    runs = solvers(problem.planes, weight)
    progress = {label: Progress(problem, run, most_seconds) for label, run in runs.items()}
    return [row(problem, shape, target, progress) for target in TARGETS]


def row(problem: Problem, shape: Shape, target: float, progress: dict[str, Progress]) -> Record:
    planes, weight = problem.planes, problem.weight
    found = ours(planes, weight, target)
    assert found.converged.all()
    facts: Record = {
        OURS: {
            "iterations": round(float(found.iterations.mean()), 1),
            "reached": problem.suboptimality(found.u),
            "enough": True,
        }
    }
    calls: dict[str, Callable[[], Any]] = {OURS: lambda: ours(planes, weight, target)}
    for label, series in progress.items():
        n, enough = series.fewest(target)
        facts[label] = {"iterations": n, "reached": series.after(n), "enough": enough}
        calls[label] = _bound(series.run, n)
    assert facts[OURS]["reached"] <= target
    seconds = alternate(calls, ROUNDS, LEAST_ROUNDS, BUDGET)
    for label, times in seconds.items():
        middle = median(times)
        each = 1e9 * middle / (planes.size * facts[label]["iterations"])
        facts[label] |= {
            "ms": float(f"{1e3 * middle:.4g}"),
            "ns_per_pixel_and_iteration": float(f"{each:.3g}"),
            "times_ours": round(ratio(times, seconds[OURS]), 2),
            "rounds": len(times),
            "reached": float(f"{facts[label]['reached']:.2g}"),
        }
    made = {"shape": list(shape), "weight": weight, "target": target, "solvers": facts}
    print(json.dumps(made), flush=True)
    return made


def _bound(run: Run, n: int) -> Callable[[], Floats]:
    return lambda: run(n)


def warm(weight: float) -> Record:
    """Iterations to 1e-3, from the start and from the state before f changed a little."""
    f = noisy_planes(SHAPES[0])
    change = np.random.default_rng(1).standard_normal(f.shape).astype(np.float32)
    change *= np.linalg.norm(f) / np.linalg.norm(change)
    state = prox(f, weight).state
    after = {str(drift): fewest_iterations(f + np.float32(drift) * change, weight, state) for drift in DRIFTS}
    made = {"weight": weight, "cold": fewest_iterations(f, weight), "after": after}
    print(json.dumps(made), flush=True)
    return made


def fewest_iterations(f: Floats, weight: float, state: State | None = None) -> int:
    """Iterations after which the gap, evaluated then for the first time, is at most 1e-3."""
    calls = (prox(f, weight, state=state, max_iterations=n, check_every=n) for n in range(1, MOST_ITERATIONS))
    return next(int(found.iterations[0]) for found in calls if found.converged.all())


def memory(label: str) -> Record:
    """Arrays of the image's size at the peak, the image among them, as far as NumPy allocates them."""
    planes = noisy_planes(SHAPES[-1])
    runs = solvers(planes, 0.1)
    call = (lambda: ours(planes, 0.1, 1e-2)) if label == OURS else _bound(runs[label], 5)
    call()
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"by": label, "arrays": round(1 + peak / planes.nbytes, 1)}


def tvl1() -> Record:
    """OpenCV's solver of another model, TV-L1 on bytes: nanoseconds a pixel and iteration."""
    import cv2

    cv2.setNumThreads(THREADS)
    image = (255 * noisy_planes(SHAPES[0])[0]).astype(np.uint8)
    result, n = np.empty_like(image), 30
    times = [timed(lambda: cv2.denoise_TVL1([image], result, 1.0, n)) for _ in range(ROUNDS)]
    each = 1e9 * statistics.median(times) / (image.size * n)
    return {"by": TVL1, "iterations": n, "ns_per_pixel_and_iteration": float(f"{each:.3g}")}


def tgv(weight: float) -> Record:
    """Of the generalised variation, which no peer solves: iterations to 1e-3, and milliseconds."""
    f = noisy_planes(SHAPES[0])
    found = prox_tgv(f, weight)
    assert found.converged.all()
    ms = 1e3 * statistics.median(timed(lambda: prox_tgv(f, weight)) for _ in range(ROUNDS))
    made = {"weight": weight, "iterations": int(found.iterations[0]), "ms": float(f"{ms:.3g}")}
    print(json.dumps(made), flush=True)
    return made


def facts() -> Record:
    names = ("scikit-image", "pyproximal", "pylops", "opencv-python-headless", "numba", "scipy", "numpy")
    return machine(THREADS, **installed(*names, "deepinv", "torch"))


# -- the page


def parts(record: Record) -> Parts:
    """The generated parts of docs/total_variation.md."""
    measured = {
        "machine": (machine_line, "speed"),
        "speed": (speed_table, "speed"),
        "aims": (aims_table, "speed"),
        "warm": (warm_table, "warm"),
        "memory": (memory_table, "memory"),
        "other": (other_line, "other"),
        "tgv": (tgv_table, "tgv"),
    }
    made = {key: make(record) if needs in record else NOT_MEASURED for key, (make, needs) in measured.items()}
    return {**made, "gpu": gpu_tables()}


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def machine_line(record: Record) -> str:
    at = record["machine"]
    v = at["versions"]
    shown = {"scikit-image": "scikit-image", "pyproximal": "pyproximal", "deepinv": "deepinv"}
    shown |= {"PyTorch": "torch", "OpenCV": "opencv-python-headless", "Numba": "numba", "Python": "python"}
    listed = ", ".join(f"{name} {v[key]}" for name, key in shown.items() if key in v)
    return (
        f"{record['date']}, {at['processor']} ({at['instructions']}), {at['cores']} cores, "
        f"{at['threads']} threads, float32. {listed}."
    )


def labels_of(record: Record) -> list[str]:
    return list(dict.fromkeys(label for r in record["speed"] for label in r["solvers"]))


def speed_table(record: Record) -> str:
    """Milliseconds and iterations of every solver to every target."""
    labels = labels_of(record)
    body = [
        [
            spelt(r["shape"]),
            f"{r['weight']:g}",
            f"{r['target']:.0e}".replace("e-0", "e-"),
            *(_cell(r["solvers"].get(label)) for label in labels),
        ]
        for r in record["speed"]
    ]
    heads = [f"**{label}**" if label == OURS else label for label in labels]
    return table(["shape", "weight", "to", *heads], *body)


def _cell(facts: Record | None) -> str:
    if facts is None:
        return ""
    if not facts["enough"]:
        return f"at {facts['reached']:.2g} after {_ms(facts['ms'])} ({facts['iterations']:.0f})"
    return f"{_ms(facts['ms'])} ({facts['iterations']:.0f})"


def _ms(ms: float) -> str:
    return f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}"


def aims_table(record: Record) -> str:
    """What was aimed at, and what was reached."""
    body = []
    for r in record["speed"]:
        if r["target"] != AIM_TARGET:
            continue
        own = r["solvers"][OURS]["ns_per_pixel_and_iteration"]
        small = math.prod(r["shape"]) == 224**2
        body.append(
            [
                spelt(r["shape"]),
                f"{r['weight']:g}",
                _fastest(r, SKIMAGE, AIM_SKIMAGE[r["weight"]]),
                _fastest(r, tuple(k for k in r["solvers"] if k not in (OURS, *SKIMAGE)), AIM_OTHERS),
                f"{own:.2f}" + (f" (aim {AIM_NS:g})" if small else ""),
            ]
        )
    heading = ["shape", "weight", "times faster than scikit-image", "times faster than the best other"]
    return table([*heading, "ns a pixel and iteration"], *body)


def _fastest(r: Record, labels: tuple[str, ...], aim: float) -> str:
    """The ratio to the fastest of the peers that reach the target; a bound where none does in time."""
    found = [(label, r["solvers"][label]) for label in labels]
    enough = [item for item in found if item[1]["enough"]]
    if not enough:
        return f"none reaches it (aim {aim:g})"
    label, facts = min(enough, key=lambda item: item[1]["ms"])
    return f"{facts['times_ours']:.1f} (aim {aim:g}; {label})"


def warm_table(record: Record) -> str:
    heads = [f"after a change of {100 * float(k):g} %" for k in record["warm"][0]["after"]]
    rows = [
        [f"{r['weight']:g}", str(r["cold"]), *(str(n) for n in r["after"].values())] for r in record["warm"]
    ]
    return table(["weight", "cold", *heads], *rows)


def memory_table(record: Record) -> str:
    return table(["", "arrays"], *([r["by"], f"{r['arrays']:.1f}"] for r in record["memory"]))


def other_line(record: Record) -> str:
    (r,) = record["other"]
    return (
        f"{r['by']} solves another model, TV-L1 on bytes, so that no energy can be compared: it takes "
        f"{r['ns_per_pixel_and_iteration']:.1f} ns a pixel and iteration at 224 x 224."
    )


def tgv_table(record: Record) -> str:
    rows = [[f"{r['weight']:g}", str(r["iterations"]), _ms(r["ms"])] for r in record["tgv"]]
    return table(["weight", "iterations", "ms"], *rows)


def gpu_tables() -> str:
    """For each card on which bench/gpu.py has timed total variation."""
    records = [read_record(path) for path in GPU_RECORDS]
    return "\n\n".join(gpu_table(r) for r in records if "total_variation" in r) or NOT_ON_A_CARD


def gpu_table(record: Record) -> str:
    rows = [
        [
            spelt(r["shape"]),
            f"{r['weight']:g}",
            f"{r['iterations']:.0f}",
            f"{r['ms']:.2f}",
            f"{r['us_per_iteration']:.1f}",
            f"{r['percent_of_copy']:.0f}",
        ]
        for r in record["total_variation"]
    ]
    at = record["machine"]
    heading = ["shape", "weight", "iterations", "ms", "us an iteration", "% of the copy's bandwidth"]
    return f"{at['card']}, CuPy {at['versions']['cupy']}, {record['date']}:\n\n{table(heading, *rows)}"


def measured(wanted: list[str], options: argparse.Namespace) -> Iterator[tuple[str, list[str], list[Record]]]:
    """Name of a section, what tells its rows apart, rows."""
    if "speed" in wanted:
        for shape in options.shapes:
            for weight in options.weights:
                yield "speed", ["shape", "weight", "target"], speed(shape, weight, options.most_seconds)
    if "warm" in wanted:
        yield "warm", ["weight"], [warm(weight) for weight in WEIGHTS]
    if "memory" in wanted:
        yield "memory", ["by"], [memory(label) for label in (OURS, CHAMBOLLE, BREGMAN, PYPROXIMAL)]
    if "other" in wanted:
        yield "other", ["by"], [tvl1()]
    if "tgv" in wanted:
        yield "tgv", ["weight"], [tgv(weight) for weight in WEIGHTS]


def main() -> None:
    sections = ("speed", "warm", "memory", "other", "tgv", "page")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shapes", nargs="+", type=parsed_shape, default=list(SHAPES), metavar="NxCxHxW")
    parser.add_argument("--weights", nargs="+", type=float, choices=WEIGHTS, default=list(WEIGHTS))
    parser.add_argument(
        "--most-seconds", type=float, default=MOST_SECONDS, help="of a call; longer ones are cut"
    )
    parser.add_argument("--only", nargs="+", choices=sections)
    parser.add_argument("--record", type=Path, default=RECORD, help="where figures are kept")
    options = parser.parse_args()
    wanted = options.only or list(sections)
    record = read_record(options.record)
    with numba_threads(THREADS):
        for section, keys, rows in measured(wanted, options):
            record[section] = merged(record.get(section, []), rows, *keys)
            record |= {"date": date.today().isoformat(), "machine": facts()}
            write_record(options.record, record)
    if "page" in wanted:
        write_pages("total_variation.py", {PAGE: parts(record)})


if __name__ == "__main__":
    main()
