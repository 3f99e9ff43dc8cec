"""What a filter does at one pixel: the mathematics that the schedules for CPU and GPU share.

Plain Python functions of scalars. `kernels.convolution` compiles them with `numba.njit`,
`kernels.cuda.convolution` with `numba.cuda.jit(device=True)`, and the tests run them as they are.

An image line of n pixels goes on beyond its ends as its boundary condition says:

======== ==================================================== =====================
REFLECT  d c b a | a b c d | d c b a   half-sample symmetric  Neumann
PERIODIC a b c d | a b c d | a b c d
ZERO     -b -a 0 | a b c d | 0 -d -c   odd about zeros        Dirichlet
======== ==================================================== =====================
"""

from __future__ import annotations

from typing import Any

REFLECT, PERIODIC, ZERO = 0, 1, 2
"""Codes of the boundary conditions, which compiled code takes instead of their names."""


def source(i: int, n: int, boundary: int) -> int:
    """Index in [0, n) of the pixel that stands at place `i`, any integer, of the continued line.

    For ZERO the sign of that pixel is `sign(i, n)`.
    """
    if 0 <= i < n:  # nearly always, and a remainder is slow
        return i
    if boundary == PERIODIC:
        return i % n
    if boundary == REFLECT:
        i %= 2 * n
        return i if i < n else 2 * n - 1 - i
    i = (i + 1) % (2 * (n + 1))  # 0 and n + 1 are the zeros
    if i > n:
        i = 2 * (n + 1) - i
    return min(max(i - 1, 0), n - 1)


def sign(i: int, n: int) -> int:
    """1, 0 or -1: what the pixel at `source(i, n, ZERO)` is multiplied by at place `i`."""
    i = (i + 1) % (2 * (n + 1))
    if i == 0 or i == n + 1:
        return 0
    return 1 if i < n + 1 else -1


def average(running: Any, value: Any, weight: Any) -> Any:
    """One step along a line of u - g u'' = f: the running average, with a weight of the next value."""
    return running + weight * (value - running)
