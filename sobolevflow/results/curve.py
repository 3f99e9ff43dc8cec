"""A small line chart as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 640, 180

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 26, 22

_COLOURS = ("#1b6ca8", "#c1440e", "#3a7d44", "#7b4b94", "#b8860b", "#2a9d8f")

_MOST_POINTS = 1000


def curve(series: NDArray[Any], label: str, marks: Sequence[int] = ()) -> str:
    """Draw (steps, N) numbers, one line for each column, over the number of the step.

    Parameters
    ----------
    series : (steps, N) array
        Finite numbers, at least one row.
    label : str
        Written above the chart.
    marks : sequence of int
        Steps to mark by a vertical line: the beginnings of octaves.
    """
    steps = len(series)
    low, high = float(series.min()), float(series.max())
    span = (high - low) or 1.0
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(step: float) -> float:
        return _LEFT + plot_width * step / max(steps - 1, 1)

    def y(value: float) -> float:
        return _TOP + plot_height * (1 - (value - low) / span)

    shown = np.unique(np.linspace(0, steps - 1, min(steps, _MOST_POINTS)).astype(int))
    lines = [
        f'<polyline fill="none" stroke="{_COLOURS[k % len(_COLOURS)]}" stroke-width="1.4" points="'
        + " ".join(f"{x(step):.1f},{y(column[step]):.1f}" for step in shown)
        + '"/>'
        for k, column in enumerate(series.T)
    ]
    base = _TOP + plot_height
    frame = f"M{_LEFT},{_TOP}V{base}H{_WIDTH - _RIGHT}" + "".join(f"M{x(m):.1f},{_TOP}V{base}" for m in marks)
    texts = [
        (_LEFT, _TOP - 10, "start", label),
        (_LEFT - 6, _TOP + 9, "end", f"{high:.3g}"),
        (_LEFT - 6, base, "end", f"{low:.3g}"),
        (_LEFT, base + 16, "start", "step 1"),
        (_WIDTH - _RIGHT, base + 16, "end", str(steps)),
    ]
    words = "".join(
        f'<text x="{left}" y="{line}" text-anchor="{anchor}">{escape(text)}</text>'
        for left, line, anchor, text in texts
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'aria-label="{escape(label, quote=True)}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="#444">'
        f'<path d="{frame}" fill="none" stroke="#bbb"/>{"".join(lines)}{words}</svg>'
    )
