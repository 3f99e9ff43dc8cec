"""How fast filters, total variation and gradients are on the machine at hand.

Candidates run alternately, each timed call after a pause and one untimed call, so that the threads
that one leaves spinning do not slow the next. Reported are medians. The yardstick of a filter is a
copy of the same array: it reads every pixel once and writes it once, as a filter must.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numba
import numpy as np

from .. import checks
from ..capacity import check_fits
from ..errors import InputError
from ..filters import Filter, Gaussian, Sobolev, SobolevProduct
from ..gradient import Engine
from ..network import load
from ..objectives import Class
from ..onnxgrad import Limits
from ..total_variation import prox

Shape: TypeAlias = tuple[int, ...]

Call: TypeAlias = Callable[[], object]

Row: TypeAlias = dict[str, Any]

ALL_SHAPES: tuple[Shape, ...] = ((8, 3, 224, 224), (64, 3, 224, 224), (1, 3, 2048, 2048), (1, 1, 8192, 8192))

SHAPES = ALL_SHAPES[:-1]  # the last takes gigabytes

TV_SHAPES: tuple[Shape, ...] = ((8, 3, 224, 224),)

TV_WEIGHTS = (0.02, 0.1, 0.5)

ROUNDS = 15

_BYTES = {"float32": 4, "float64": 8}

COPY = "copy"

FILTERS: Mapping[str, Filter] = {
    "Gaussian 11": Gaussian(size=11),
    "Sobolev 11": Sobolev(size=11),
    "Sobolev exact, gamma 4": Sobolev(gamma=4.0),
    "Sobolev product, gamma 4": SobolevProduct(gamma=4.0),
}


def alternate(calls: Mapping[str, Call], rounds: int, pause: float = 0.02) -> dict[str, list[float]]:
    """Seconds of each call in each round: pause, one untimed call, then the timed one."""
    seconds: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            time.sleep(pause)
            call()
            start = time.perf_counter()
            call()
            seconds[label].append(time.perf_counter() - start)
    return seconds


def throughput(seconds: float, shape: Shape, itemsize: int, copy: float) -> Row:
    """A time as milliseconds, nanoseconds a pixel, gigabytes a second and percent of the copy's.

    Parameters
    ----------
    seconds
        Of one call on an array of `shape`.
    itemsize
        Bytes of a value, each read once and written once.
    copy
        Seconds that a copy of the same array takes.
    """
    pixels = math.prod(shape)
    return {
        "ms": 1e3 * seconds,
        "ns_per_pixel": 1e9 * seconds / pixels,
        "gb_per_s": 2e-9 * pixels * itemsize / seconds,
        "percent_of_copy": 100 * copy / seconds,
    }


def benchmark_filters(
    shapes: Sequence[Shape] = SHAPES,
    dtype: str = "float32",
    rounds: int = ROUNDS,
    threads: int | None = None,
) -> list[Row]:
    """Throughput of the filters, and of a copy, into an array that is there already.

    ``first_call_ms`` is that of the first call in this process, on a small image: it compiles the kernel or
    reads it from Numba's cache on disk; a filter whose kernel an earlier one has loaded has no such cost.

    Returns
    -------
    list of dict
        One for each shape and filter: shape, filter, ms, ns_per_pixel, gb_per_s, percent_of_copy,
        first_call_ms.
    """
    _check_asked(shapes, dtype, rounds)
    with numba_threads(threads):
        first = {name: _first_call(f, dtype) for name, f in FILTERS.items()}
        return [row for shape in shapes for row in _filter_rows(shape, dtype, rounds, first)]


def _first_call(f: Filter, dtype: str) -> float:
    x = np.random.default_rng(0).random((3, 24, 24)).astype(dtype)
    start = time.perf_counter()
    f(x)
    return time.perf_counter() - start


def _filter_rows(shape: Shape, dtype: str, rounds: int, first: Mapping[str, float]) -> Iterator[Row]:
    x = np.random.default_rng(0).random(shape, np.dtype(dtype).type)
    out = np.empty_like(x)
    calls: dict[str, Call] = {COPY: lambda: np.copyto(out, x)}
    calls |= {name: _bound(f, x, out) for name, f in FILTERS.items()}
    medians = {name: statistics.median(t) for name, t in alternate(calls, rounds).items()}
    for name, seconds in medians.items():
        facts = throughput(seconds, shape, x.itemsize, medians[COPY])
        compiled = 1e3 * first[name] if name in first else None
        yield {"shape": list(shape), "filter": name, **facts, "first_call_ms": compiled}


def _bound(f: Filter, x: Any, out: Any) -> Call:
    return lambda: f(x, out=out)


def benchmark_tv(
    shapes: Sequence[Shape] = TV_SHAPES,
    dtype: str = "float32",
    rounds: int = ROUNDS,
    threads: int | None = None,
) -> list[Row]:
    """Time of the proximal map of total variation to its default tolerance, on noisy images in [0, 1].

    Returns
    -------
    list of dict
        One for each shape and weight: shape, weight, ms, iterations (mean over the images),
        ns_per_pixel_and_iteration.
    """
    _check_asked(shapes, dtype, rounds)
    with numba_threads(threads):
        return [row for shape in shapes for row in _tv_rows(shape, dtype, rounds)]


def _tv_rows(shape: Shape, dtype: str, rounds: int) -> Iterator[Row]:
    f = noisy(shape).astype(dtype)
    calls: dict[str, Call] = {str(weight): _prox_call(f, weight) for weight in TV_WEIGHTS}
    seconds = alternate(calls, rounds)
    for weight in TV_WEIGHTS:
        median = statistics.median(seconds[str(weight)])
        iterations = float(prox(f, weight).iterations.mean())
        each = 1e9 * median / (f.size * iterations)
        facts = {"ms": 1e3 * median, "iterations": iterations, "ns_per_pixel_and_iteration": each}
        yield {"shape": list(shape), "weight": weight, **facts}


def _prox_call(f: Any, weight: float) -> Call:
    return lambda: prox(f, weight)


def noisy(shape: Shape) -> Any:
    """Waves, with noise of standard deviation 0.05."""
    h, w = shape[-2:]
    wave = 0.5 + 0.4 * np.outer(np.sin(np.arange(h) / 9), np.cos(np.arange(w) / 7))
    return np.clip(wave + np.random.default_rng(0).normal(0, 0.05, shape), 0, 1)


def benchmark_gradient(
    model: str = "builtin:shapes-vgg",
    rounds: int = ROUNDS,
    threads: int | None = None,
    limits: Limits | None = None,
    isolate: bool = False,
) -> list[Row]:
    """Time of a network's forward pass and of the gradient of a class score, for one image.

    Parameters
    ----------
    model
        ONNX file, or the name of a bundled network.
    threads, limits, isolate
        As of `load`.

    Returns
    -------
    list of dict
        One for each of "forward" and "gradient": model, what, ms, forward_passes.
    """
    checks.count(rounds, "rounds")
    net = load(model, threads=threads, limits=limits, isolate=isolate)
    engine = Engine(net, Class(0))
    u = np.random.default_rng(0).random((1, *net.input_shape), np.float32)
    seconds = alternate({"forward": lambda: net.scores(u), "gradient": lambda: engine(u)}, rounds)
    medians = {what: statistics.median(t) for what, t in seconds.items()}
    return [
        {"model": net.name, "what": what, "ms": 1e3 * t, "forward_passes": t / medians["forward"]}
        for what, t in medians.items()
    ]


@contextmanager
def numba_threads(threads: int | None) -> Iterator[None]:
    """The kernels on so many threads, until the block ends; None changes nothing."""
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    if threads is not None and checks.count(threads, "threads") > most:
        raise InputError(
            f"{threads} threads were asked for; this machine offers {most}, ask for at most that."
        )
    numba.set_num_threads(before if threads is None else threads)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _check_asked(shapes: Sequence[Shape], dtype: str, rounds: int) -> None:
    checks.count(rounds, "rounds")
    checks.one_of(dtype, "dtype", ("float32", "float64"))
    for shape in checks.entries(shapes, "shapes", "a list of shapes, such as (3, 224, 224)"):
        sizes = checks.entries(shape, "a shape", "a tuple of sizes, such as (3, 224, 224)")
        pixels = math.prod(checks.count(size, "a size of a shape") for size in sizes)
        check_fits(
            2 * _BYTES[dtype] * pixels, f"an image of shape {shape}, and its result,", "time a smaller one"
        )
        if len(sizes) < 2:
            raise InputError(
                f"the shape {shape} has no rows and columns; give at least two sizes, as 224x224."
            )
