"""Windows of convolutions and pools at random geometries, for the tests of their rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume, settings, strategies as st

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad.geometry import Axis
from tests.support.gradient_cases import Case, check

EXAMPLES = settings(max_examples=40)


@dataclass(frozen=True)
class Window:
    """One spatial axis."""

    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int

    @property
    def reach(self) -> int:
        return (self.kernel - 1) * self.dilation + 1

    @property
    def fits(self) -> bool:
        return self.size + self.begin + self.end >= self.reach


@st.composite
def windows(draw: st.DrawFn, *, pool: bool = False, dilated: bool = True) -> list[Window]:
    """One to three axes; a pool's padding stays below its kernel, as onnxruntime demands."""
    out = []
    for _ in range(draw(st.sampled_from([1, 2, 2, 2, 3]))):
        kernel = draw(st.integers(1, 4))
        most = kernel - 1 if pool else 3
        window = Window(
            size=draw(st.integers(1, 8)),
            kernel=kernel,
            stride=draw(st.integers(1, 4)),
            dilation=draw(st.integers(1, 3)) if dilated else 1,
            begin=draw(st.integers(0, most)),
            end=draw(st.integers(0, most)),
        )
        assume(window.fits)
        # a dilated window may step over all data: its maximum is then no number
        assume(not pool or touches_data(window))
        out.append(window)
    return out


def check_or_refuse(which: Case) -> None:
    """Mixed geometries with ceil_mode for which no padding exists are refused; all others are right."""
    try:
        check(which)
    except ModelError as error:
        assume("ceil_mode" not in str(error))
        raise


def touches_data(a: Window) -> bool:
    out = -(-(a.size + a.begin + a.end - a.reach) // a.stride) + 1
    taps = Axis(a.size, out, a.kernel, a.stride, a.dilation, a.begin).valid_taps()
    return bool((taps[:-1] > 0).all() and (taps[-1] > 0 or (out - 1) * a.stride >= a.size + a.begin))


def attributes(axes: list[Window], *, dilated: bool = True) -> dict[str, Any]:
    out: dict[str, Any] = {
        "kernel_shape": [a.kernel for a in axes],
        "strides": [a.stride for a in axes],
        "pads": [a.begin for a in axes] + [a.end for a in axes],
    }
    return {**out, "dilations": [a.dilation for a in axes]} if dilated else out


def random(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
