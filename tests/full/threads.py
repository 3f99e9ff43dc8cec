"""Whether a gradient function that threads share ever gives another image's gradient.

    python -m tests.full.threads --calls 1000000

Three networks, four kinds of objective each; every call has another image than the one before, and its value
and gradient are compared, byte for byte, with what the same function gave alone. The networks are made small,
so that as many calls as can be fall into each other; those of the package at their own size are a share.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import sobolevflow as sf
from tests.support.at_once import at_once
from tests.support.small_networks import small_model

THREADS = 4
IMAGES = 16
SEED = 0
# Of a hundred calls those of each network: the bundled ones take milliseconds, the small one a tenth of one.
SHARES = {"builtin:shapes-vgg": 1, "builtin:shapes-dense": 1, "small": 98}


@dataclass(frozen=True)
class Case:
    """A gradient function, images, and what it gives for each of them alone."""

    function: Any
    images: list[np.ndarray]
    expected: list[tuple[bytes, bytes]]

    @classmethod
    def of(cls, net: sf.Network, objective: Any, rng: np.random.Generator) -> Case:
        function = sf.value_and_grad(net, objective)
        images = [rng.random((1, *net.input_shape), np.float32) for _ in range(IMAGES)]
        return cls(function, images, [as_bytes(function(u)) for u in images])


def as_bytes(found: Any) -> tuple[bytes, bytes]:
    """Value and gradient."""
    value, gradient = found
    return value.tobytes(), gradient.tobytes()


def cases(name: str, rng: np.random.Generator) -> list[Case]:
    """A network with four kinds of objective."""
    net = sf.load(small_model() if name == "small" else name, threads=1)
    layer = next(i.name for i in net.layers if i.differentiable and i.shape is not None and len(i.shape) == 4)
    objectives = [
        sf.Class(1),
        sf.Channel(layer, 2),
        sf.Inversion(layer, rng.random(net.input_shape, np.float32)),
        sf.Class(0) + 0.1 * sf.Neuron(layer, 1),
    ]
    return [Case.of(net, objective, rng) for objective in objectives]


def wrong(made: list[Case], calls: int, seed: int) -> int:
    """How many of so many calls, in an order of their own, give something else than alone."""
    rng, found = np.random.default_rng(seed), 0
    for which, image in zip(rng.integers(0, len(made), calls), rng.integers(0, IMAGES, calls), strict=True):
        case = made[which]
        found += as_bytes(case.function(case.images[image])) != case.expected[image]
    return found


def run(calls: int, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """So many calls in all, of each network by all threads; the counts, by network."""
    rng, counts = np.random.default_rng(SEED), dict[str, dict[str, float]]()
    for number, (name, share) in enumerate(SHARES.items()):
        made, each = cases(name, rng), max(1, calls * share // (100 * THREADS))
        began = time.perf_counter()
        tasks = [partial(wrong, made, each, 1000 * number + t) for t in range(THREADS)]
        found = at_once(tasks, seconds=7200.0)
        seconds = time.perf_counter() - began
        counts[name] = {"calls": each * THREADS, "wrong": sum(found), "seconds": round(seconds, 1)}
        say(f"{name}: {counts[name]}")
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Count, and write what was found beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000, help="in all (default: %(default)s)")
    counts = run(parser.parse_args(arguments).calls, lambda text: print(text, flush=True))
    total = {key: sum(each[key] for each in counts.values()) for key in ("calls", "wrong")}
    record = {
        **total,
        "networks": counts,
        "threads": THREADS,
        "objectives": ["Class", "Channel", "Inversion", "Class + Neuron"],
        "seed": SEED,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
            "sobolevflow": sf.__version__,
        },
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(total["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
