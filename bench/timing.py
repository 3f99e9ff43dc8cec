"""What the scripts share: calls that are timed alternately in one process, and ratios of their times."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

PAUSE = 0.02
BUDGET = 6.0  # seconds that the timed calls of one candidate may take, beyond the least number of rounds
LEAST_ROUNDS = 5
LONG = 1.0  # seconds from which on a call does without an untimed one before it

Call = Callable[[], Any]
Clock = Callable[[], float]
"""Seconds that a call takes, now."""
Seconds = dict[str, dict[int, float]]
"""Seconds of each call in the rounds that it takes part in."""
Shape = tuple[int, ...]


def alternate(
    calls: Mapping[str, Call],
    rounds: int,
    least: int = LEAST_ROUNDS,
    budget: float = BUDGET,
    *,
    pause: float = PAUSE,
    long: float = LONG,
) -> Seconds:
    """Time calls in turn, each after a pause and one untimed call, which those of `long` seconds do without.

    Slow candidates take part in fewer rounds, which are spread evenly, but in at least `least`.
    """
    first = {label: timed(call) for label, call in calls.items()}
    shares = {label: min(rounds, max(least, int(budget / t))) for label, t in first.items()}

    def clock(call: Call, warm: bool) -> Clock:
        def seconds() -> float:
            time.sleep(pause)
            if warm:
                call()
            return timed(call)

        return seconds

    clocks = {label: clock(call, first[label] < long) for label, call in calls.items()}
    return in_turn(clocks, rounds, shares)


def in_turn(clocks: Mapping[str, Clock], rounds: int, shares: Mapping[str, int] | None = None) -> Seconds:
    """Read all clocks once in each round, or in as many rounds as their shares."""
    seconds: Seconds = {label: {} for label in clocks}
    for i in range(rounds):
        for label, clock in clocks.items():
            share = rounds if shares is None else shares[label]
            if (i + 1) * share // rounds > i * share // rounds:
                seconds[label][i] = clock()
    return seconds


def every_round(calls: Mapping[str, Call], rounds: int, pause: float) -> Seconds:
    """Time calls in turn, each in every round after a pause and one untimed call, however long it takes."""
    return alternate(calls, rounds, rounds, pause=pause, long=math.inf)


def timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median(times: Mapping[int, float]) -> float:
    return statistics.median(times.values())


def ratio(over: Mapping[int, float], under: Mapping[int, float]) -> float:
    """Median of the ratios within the rounds that have both."""
    return statistics.median(over[i] / under[i] for i in over.keys() & under.keys())


def parsed_shape(text: str) -> Shape:
    return tuple(map(int, text.split("x")))


def spelt(shape: list[int] | Shape) -> str:
    return " x ".join(map(str, shape))
