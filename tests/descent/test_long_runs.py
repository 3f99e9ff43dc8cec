"""Long runs: memory that stays flat, and the same bytes once more."""

from __future__ import annotations

from pathlib import Path

import pytest

import sobolevflow as sf
from sobolevflow.descent import StepInfo
from tests.support.small_networks import small_model

STATUS = Path("/proc/self/statm")
SIZE = (3, 64, 64)
K = sf.filters.Sobolev(size=11)
LEAST = 3 * 64 * 64 * 4 // 8  # bytes a step: an eighth of an image


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux, which tells how much memory a process has")
def test_memory_stays_flat_over_two_thousand_steps() -> None:
    net = sf.load(small_model(size=SIZE), threads=1)
    pages: dict[int, int] = {}

    def look(info: StepInfo) -> None:
        if info.step in (500, 2000):
            pages[info.step] = int(STATUS.read_text().split()[1])

    sf.visualize(net, sf.Class(1), scheme=sf.fluid(K), steps=2000, progress=False, callback=look)
    assert 4096 * (pages[2000] - pages[500]) < 1500 * LEAST


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_ends_in_the_same_bytes_once_more(threads: int) -> None:
    def run() -> bytes:
        net = sf.load("builtin:shapes-dense", threads=threads)
        return sf.visualize(net, sf.Class(3), batch=2, steps=6, progress=False).u.tobytes()

    assert run() == run()
