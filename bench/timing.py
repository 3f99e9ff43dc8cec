"""What the scripts share: calls that are timed alternately in one process, and the rows of a record."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

PAUSE = 0.02
BUDGET = 6.0  # seconds that the timed calls of one candidate may take, beyond the least number of rounds
LEAST_ROUNDS = 5

Shape = tuple[int, ...]


def alternate(
    calls: dict[str, Callable[[], Any]], rounds: int, least: int = LEAST_ROUNDS, budget: float = BUDGET
) -> dict[str, dict[int, float]]:
    """Seconds of each call in the rounds that it takes part in, which are spread evenly.

    Each timed call comes after a pause and one untimed call, which those of more than a second do without.
    Slow candidates take part in fewer rounds, but in at least `least`.
    """
    first = {label: timed(call) for label, call in calls.items()}
    shares = {label: min(rounds, max(least, int(budget / t))) for label, t in first.items()}
    seconds: dict[str, dict[int, float]] = {label: {} for label in calls}
    for i in range(rounds):
        for label, call in calls.items():
            share = shares[label]
            if (i + 1) * share // rounds > i * share // rounds:
                time.sleep(PAUSE)
                if first[label] < 1:
                    call()
                seconds[label][i] = timed(call)
    return seconds


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(over: dict[int, float], under: dict[int, float]) -> float:
    """Median of the ratios within the rounds that have both."""
    return statistics.median(over[i] / under[i] for i in over.keys() & under.keys())


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """The rows of a record with some measured anew, in their old order; `keys` tell rows apart."""
    rows = {str([row[key] for key in keys]): row for row in (*old, *new)}
    return list(rows.values())


def parsed_shape(text: str) -> Shape:
    return tuple(map(int, text.split("x")))


def spelt(shape: list[int] | Shape) -> str:
    return " x ".join(map(str, shape))
