"""How many more gradients two threads compute than one, each with one thread of onnxruntime.

    python -m tests.full.throughput

Alternately by one thread and by two, through one gradient function; the median of the ratios, with quartiles.
Wants two cores that nobody else computes on; the load at the beginning is written down.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import sobolevflow as sf
from tests.support.at_once import at_once

NETWORKS = ("builtin:shapes-vgg", "builtin:shapes-dense")
CALLS = 30  # of each thread, between two looks at the clock
LEAST = 1.5  # what two threads compute of what one does


def seconds(work: Callable[[], Any], threads: int) -> float:
    """How long so many threads take that each do the work."""
    began = time.perf_counter()
    at_once([work] * threads, seconds=600.0)
    return time.perf_counter() - began


def ratios(name: str, rounds: int) -> list[float]:
    """What two threads compute in the time in which one computes 1, time after time."""
    net = sf.load(name, threads=1)
    function, u = sf.value_and_grad(net, sf.Class(1)), np.full((1, *net.input_shape), 0.5, np.float32)

    def work() -> None:
        for _ in range(CALLS):
            function(u)

    seconds(work, 2)
    return [2 * seconds(work, 1) / seconds(work, 2) for _ in range(rounds)]


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write what was found beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="of each network (default: %(default)s)")
    found: dict[str, dict[str, Any]] = {}
    rounds, load = parser.parse_args(arguments).rounds, os.getloadavg()[0]
    for name in NETWORKS:
        low, median, high = np.quantile(ratios(name, rounds), (0.25, 0.5, 0.75)).round(2).tolist()
        found[name] = {"median": median, "quartiles": [low, high]}
        print(f"{name}: {found[name]}", flush=True)
    record = {
        "two threads to one": found,
        "rounds": rounds,
        "load": load,
        "cores": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__},
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(each["median"] < LEAST for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
