"""The pictures of docs/total_variation.md: one noisy picture under each operator, and profiles of a ramp.

    python bench/total_variation_figures.py

Computed, not measured: the same on every machine. Writes docs/images/tv-*.png.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from filter_figures import GAUSSIAN, PRODUCT, SOBOLEV, SOFT, save
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from paths import IMAGES

import sobolevflow as sf
from sobolevflow.proximal import Sum, TotalVariation
from sobolevflow.total_variation import constrained, prox, prox_tgv

Image = NDArray[np.float64]
NOISE = 0.08


def clean(n: int = 104) -> Image:
    """A shaded disc, a square standing on its corner, thin lines and a ramp, on dark ground."""
    y, x = np.mgrid[:n, :n] / n
    picture = np.full((n, n), 0.15)
    disc = np.hypot(x - 0.3, y - 0.32)
    picture[disc < 0.2] = (0.9 - 1.2 * (y + x - 0.4))[disc < 0.2]
    picture[np.abs(x - 0.74) + np.abs(y - 0.3) < 0.2] = 0.75
    for k, at in enumerate((0.60, 0.66, 0.72)):
        picture[np.abs(y - at - 0.05 * x) < (0.5 + k) / n] = 0.85
    picture[(y > 0.82) & (y < 0.94)] = np.broadcast_to(0.1 + 0.8 * x, y.shape)[(y > 0.82) & (y < 0.94)]
    return picture


def noisy(u: Image) -> Image:
    return u + np.random.default_rng(0).normal(0, NOISE, u.shape)


def exact(f: Image, weight: float, **kind: Any) -> Image:
    return np.asarray(prox(f, weight, 1e-6, 100_000, **kind).u)


def operators() -> dict[str, Callable[[Image], Image]]:
    smooth = Sum((TotalVariation(0.06, tol=1e-6, max_iterations=5000), sf.filters.Sobolev(gamma=0.15)))
    return {
        "total variation, 0.1": lambda f: exact(f, 0.1),
        "anisotropic, 0.1": lambda f: exact(f, 0.1, variation="anisotropic"),
        "Huber 0.05, 0.1": lambda f: exact(f, 0.1, huber=0.05),
        "generalised (TGV), 0.1": lambda f: prox_tgv(f, 0.1, tol=1e-5, max_iterations=50_000).u,
        "least TV at the noise's distance": lambda f: constrained(f, NOISE * f.size**0.5, 1e-4).u,
        "TV + 1/2 γ |grad u|²": smooth,
        "bilateral": sf.Bilateral(2.0, 0.25),
        "Perona and Malik": sf.PeronaMalik(0.15, 4.0),
    }


def draw_pictures() -> None:
    figure, axes = plt.subplots(3, 3, figsize=(6.6, 7.3), layout="constrained")
    truth = clean()
    f = noisy(truth)
    shown = {"noisy": f} | {label: operator(f) for label, operator in operators().items()}
    for place, (label, picture) in zip(axes.flat, shown.items(), strict=True):
        place.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        off = float(np.sqrt(((picture - truth) ** 2).mean()))
        place.set_title(f"{label}\nrms error {off:.3f}", fontsize=8)
        place.set_axis_off()
    save(figure, IMAGES / "tv-pictures.png")


def draw_profiles() -> None:
    n = 160
    at = np.arange(n)
    line = np.where(at < 30, 0.2, np.where(at < 90, 0.2 + 0.6 * (at - 30) / 60, np.where(at < 120, 0.8, 0.3)))
    f = line + np.random.default_rng(1).normal(0, 0.04, n)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 2.9), layout="constrained", sharey=True)
    left, right = axes
    for place in axes:
        place.plot(at, f, color="0.8", linewidth=0.8, label="noisy")
        place.set(xlabel="pixels")
    for place, label, colour, u in (
        (left, "total variation 0.2", GAUSSIAN, exact(f[None], 0.2)[0]),
        (left, "Huber 0.02, 0.2", SOBOLEV, exact(f[None], 0.2, huber=0.02)[0]),
        (left, "TGV, 0.2", SOFT, prox_tgv(f[None], 0.2, 8.0, tol=1e-6, max_iterations=100_000).u[0]),
        (right, "Sobolev, γ = 4", SOFT, sf.filters.Sobolev(gamma=4)(f[None])[0]),
        (right, "Perona and Malik", PRODUCT, sf.PeronaMalik(0.1, 4.0)(f[None])[0]),
    ):
        place.plot(at, u, color=colour, linewidth=1.3, label=label)
    for place in axes:
        place.legend(fontsize=8)
    save(figure, IMAGES / "tv-profiles.png")


def main() -> None:
    draw_pictures()
    draw_profiles()


if __name__ == "__main__":
    main()
