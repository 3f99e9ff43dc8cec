"""The pictures of docs/filters.md: kernels, transfer functions, impulse responses, an edge.

    python bench/filter_figures.py

Computed, not measured: the same on every machine. Writes docs/images/filters-*.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from paths import IMAGES

from sobolevflow.filters import Filter, Gaussian, Sobolev, SobolevProduct, match

mpl.use("Agg")
import matplotlib.pyplot as plt

# one colour a filter in all pictures: Gaussian, Sobolev, ...
COLOURS = ("#d95f02", "#1b6ca8", "#66a61e", "#7b3294")
GAUSSIAN, SOBOLEV, SOFT, PRODUCT = COLOURS
SMOOTH = "#12355b"  # a darker blue: Sobolev of order 2
VARIANCE = 4.0  # along each axis, of the filters drawn together

mpl.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "legend.frameon": False,
    }
)


def family() -> list[tuple[str, str, Filter]]:
    """Filters of equal variance: label, colour, filter."""
    return [
        ("Gaussian", GAUSSIAN, Gaussian(sigma=VARIANCE**0.5)),
        ("Sobolev, order 1/2", SOFT, Sobolev(gamma=VARIANCE, order=0.5)),
        ("Sobolev, order 1", SOBOLEV, Sobolev(gamma=VARIANCE / 2)),
        ("Sobolev, order 2", SMOOTH, Sobolev(gamma=VARIANCE / 4, order=2)),
        ("Sobolev product", PRODUCT, SobolevProduct(gamma=VARIANCE / 2)),
    ]


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
    print(path.name, path.stat().st_size // 1024, "kB")


def middle_row(f: Filter, reach: int) -> Any:
    """Impulse response along a row through its peak, from -reach to reach."""
    return impulse(f, reach)[reach]


def impulse(f: Filter, reach: int) -> np.ndarray:
    side = 2 * max(reach, 60) + 1
    x = np.zeros((side, side))
    x[side // 2, side // 2] = 1
    middle = slice(side // 2 - reach, side // 2 + reach + 1)
    return np.asarray(f(x))[middle, middle]


def draw_kernels() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.1), layout="constrained")
    at = np.arange(-10, 11)
    for label, colour, f in family():
        row = middle_row(f, 10)
        left.plot(at, row, ".-", color=colour, label=label, linewidth=1.3, markersize=4)
        right.semilogy(at, np.maximum(row, 1e-12), ".-", color=colour, linewidth=1.3, markersize=4)
    left.set(
        title="through the middle of the kernel", xlabel="pixels", ylim=(0, None), xticks=range(-10, 11, 5)
    )
    right.set(title="the same, logarithmic", xlabel="pixels", ylim=(1e-6, 1), xticks=range(-10, 11, 5))
    left.legend(fontsize=8)
    save(figure, IMAGES / "filters-kernels.png")


def draw_transfer() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.1), layout="constrained", sharey=True)
    n = 256
    along = np.arange(n) / n  # of the transform's half period: frequency in units of pi
    for label, colour, f in family():
        response = f.response(n, n)
        # along an axis the product is the Sobolev filter: dashes show both
        style = "--" if isinstance(f, SobolevProduct) else "-"
        left.plot(along, response[0], style, color=colour, label=label, linewidth=1.3)
        right.plot(along, np.diagonal(response), style, color=colour, linewidth=1.3)
    left.set(title="along an axis", xlabel="frequency / π", ylabel="what passes", ylim=(0, 1), xlim=(0, 1))
    right.set(title="along the diagonal", xlabel="frequency / π on both axes", xlim=(0, 1))
    left.legend(fontsize=8)
    save(figure, IMAGES / "filters-transfer.png")


def draw_impulses() -> None:
    figure, axes = plt.subplots(1, 5, figsize=(8.4, 2.15), layout="constrained")
    reach = 8
    for place, (label, colour, f) in zip(axes, family(), strict=True):
        response = impulse(f, reach)
        levels = np.log10(np.maximum(response / response.max(), 1e-4))
        image = place.imshow(levels, cmap="magma", vmin=-4, vmax=0, extent=(-8.5, 8.5, -8.5, 8.5))
        place.contour(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1), levels, [-3, -2, -1],
                      colors="white", linewidths=0.6, linestyles="solid")  # fmt: skip
        place.set_title(label, color=colour)
        place.set(xticks=[-8, 0, 8], yticks=[-8, 0, 8])
        place.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[-4, -3, -2, -1, 0])
    bar.ax.set_yticklabels(["$10^{-4}$", "$10^{-3}$", "$10^{-2}$", "0.1", "peak"])
    save(figure, IMAGES / "filters-impulses.png")


def edge(n: int = 64) -> np.ndarray:
    """A bright disc at the left, and a line one pixel wide, with a little noise on dark ground."""
    y, x = np.mgrid[:n, :n]
    picture = np.where((x - n * 0.32) ** 2 + (y - n / 2) ** 2 < (n * 0.24) ** 2, 0.85, 0.15)
    picture[8:-8, int(n * 0.78)] = 0.85
    return np.clip(picture + np.random.default_rng(0).normal(0, 0.06, (n, n)), 0, 1)


def pairs() -> list[tuple[str, Gaussian | Sobolev, Gaussian | Sobolev]]:
    """Gaussian and Sobolev filters, equal in three ways to the Gaussian of size 21."""
    f = Gaussian(size=21)
    return [
        ("equal support, 21 x 21", f, match(f, "support")),
        ("equal variance", f, match(f, "variance")),
        ("equal noise gain", f, match(f, "noise")),
    ]


def strength(f: Gaussian | Sobolev) -> str:
    # alike on both axes; where it was solved for, it is a pair whose entries may differ by rounding
    if isinstance(f, Gaussian):
        return f"σ = {np.mean(f.sigma):.2f}"
    return f"γ = {np.mean(f.gamma):.2f}"


def draw_edges() -> None:
    figure, axes = plt.subplots(3, 3, figsize=(8.4, 7.6), layout="constrained", height_ratios=(1, 1.1, 1.1))
    step = np.repeat(np.where(np.arange(121) < 60, 0.0, 1.0)[None], 121, axis=0)
    picture = edge()
    at = np.arange(-15, 16)
    for column, (title, g, s) in enumerate(pairs()):
        profile = axes[0, column]
        profile.step(at, step[0, 45:76], where="mid", color="0.75", linewidth=1, label="edge")
        for f, colour, label in ((g, GAUSSIAN, "Gaussian"), (s, SOBOLEV, "Sobolev")):
            profile.plot(at, f(step)[60, 45:76], ".-", color=colour, markersize=4, linewidth=1.3,
                         label=f"{label}, {strength(f)}")  # fmt: skip
            row = 1 if f is g else 2
            axes[row, column].imshow(f(picture), cmap="gray", vmin=0, vmax=1)
            axes[row, column].set_title(f"{label}, {strength(f)}", color=colour)
            axes[row, column].set_axis_off()
        profile.set(title=title, xlabel="pixels from the edge", ylim=(-0.05, 1.45), yticks=(0, 0.5, 1))
        profile.legend(fontsize=7, loc="upper left", borderaxespad=0.1, handlelength=1.2)
    save(figure, IMAGES / "filters-edges.png")


def main() -> None:
    draw_kernels()
    draw_transfer()
    draw_impulses()
    draw_edges()


if __name__ == "__main__":
    main()
