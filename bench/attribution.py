"""Every attribution method on pictures of two classes, side by side, and the error of integrated gradients.

    python bench/attribution.py [FOLDER]   # a folder with models/ and images/

A picture whose halves show two classes has a right answer: the map of a class belongs to its half. The
share of each map that lies there is recorded, for pictures drawn for the bundled network and, where the
folder with real networks and photographs is given, for pairs of photographs and SqueezeNet 1.1.
Writes bench/results/attribution.json, docs/images/attribution.png and the tables of docs/attribution.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from paths import DOCS, IMAGES, RESULTS
from PIL import Image

import sobolevflow as sf
from sobolevflow import attribution
from sobolevflow.models.shapes import draw
from sobolevflow.pictures import contact_sheet, to_uint8

RECORD, PAGE = RESULTS / "attribution.json", DOCS / "attribution.md"
PAIRS = 32
STEPS = (10, 20, 50)
K = {gamma: sf.filters.Sobolev(gamma=gamma) for gamma in (5, 20, 80)}

METHODS: dict[str, Callable[..., Any]] = {
    "saliency": attribution.saliency,
    "Sobolev saliency, gamma 5": lambda *a: attribution.saliency(*a, filter=K[5]),
    "Sobolev saliency, gamma 20": lambda *a: attribution.saliency(*a, filter=K[20]),
    "Sobolev saliency, gamma 80": lambda *a: attribution.saliency(*a, filter=K[80]),
    "SmoothGrad": attribution.smooth_grad,
    "SmoothGrad, gamma 20": lambda *a: attribution.smooth_grad(*a, filter=K[20]),
    "integrated gradients": lambda *a: attribution.integrated_gradients(*a, reduce="sum"),
    "Grad-CAM": attribution.grad_cam,
}
SHOWN = {
    "saliency": "saliency",
    "Sobolev saliency": "Sobolev saliency, gamma 20",
    "SmoothGrad": "SmoothGrad",
    "int. gradients": "integrated gradients",
    "Grad-CAM": "Grad-CAM",
}


def joined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The middle of one picture beside the middle of another, (3, H, W)."""
    half = left.shape[2] // 2
    middle = slice(half // 2, half // 2 + half)
    return np.concatenate([left[:, :, middle], right[:, :, middle]], axis=2)


def drawn_pairs(net: sf.Network, count: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Pictures of two classes for the bundled network, and the classes."""
    rng = np.random.default_rng(0)
    assert net.labels is not None
    pairs = [tuple(map(int, rng.choice(len(net.labels), 2, replace=False))) for _ in range(count)]
    size = net.input_shape[1]
    pictures = [joined(*(draw(net.labels[k], rng, size) for k in pair)) for pair in pairs]
    return np.stack(pictures), pairs  # type: ignore[return-value]


def photographed_pairs(net: sf.Network, folder: Path, count: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Photographs that the network knows, in pairs."""
    with (folder / "labels.csv").open() as file:
        rows = [(row[0], int(row[1])) for row in csv.reader(file) if len(row) > 1 and row[1].isdigit()]
    photos = [(sf.read_image(folder / name, size=net.input_shape[1:]), k) for name, k in rows]
    known = [(u, k) for u, k in photos if int(net.top(u)[0, 0]) == k]
    rng = np.random.default_rng(0)
    chosen = [rng.choice(len(known), 2, replace=False) for _ in range(count)]
    pictures = [joined(known[a][0], known[b][0]) for a, b in chosen]
    return np.stack(pictures), [(known[a][1], known[b][1]) for a, b in chosen]


def share(maps: np.ndarray, left: bool) -> np.ndarray:
    """How much of what is positive in each map lies in that half, in [0, 1]; a half for an empty map."""
    mass = np.maximum(maps, 0).sum(axis=1, dtype=np.float64)
    half = mass.shape[1] // 2
    part = (mass[:, :half] if left else mass[:, half:]).sum(axis=1)
    whole = mass.sum(axis=1)
    return np.asarray(np.divide(part, whole, out=np.full(len(mass), 0.5), where=whole > 0))


def localised(net: sf.Network, u: np.ndarray, pairs: list[tuple[int, int]]) -> dict[str, float]:
    """Mean share of each method over the pairs, each class asked for once."""
    shares = {}
    for name, method in METHODS.items():
        sides = [
            share(method(net, sf.Class([pair[side] for pair in pairs]), u), side == 0) for side in (0, 1)
        ]
        shares[name] = round(float(np.mean(sides)), 3)
        print(net.name, name, shares[name], flush=True)
    return shares


def midpoint(net: sf.Network, objective: sf.Class, u: np.ndarray, steps: int) -> np.ndarray:
    """Integrated gradients from black by the midpoint rule."""
    gradient = sf.value_and_grad(net, objective)
    ways = (gradient(u * np.float32((k + 0.5) / steps))[1].astype(np.float64) for k in range(steps))
    mean: np.ndarray = u * sum(ways) / steps
    return mean


def incomplete(net: sf.Network, u: np.ndarray, classes: list[int]) -> dict[str, dict[str, float]]:
    """Median relative error of completeness of both quadratures, by number of steps."""
    objective = sf.Class(classes)
    value = sf.value_and_grad(net, objective)
    change = value(u)[0] - value(0 * u)[0]
    rules: dict[str, Callable[[int], np.ndarray]] = {
        "Gauss-Legendre": lambda n: attribution.integrated_gradients(net, objective, u, steps=n),
        "midpoint": lambda n: midpoint(net, objective, u, n),
    }
    return {
        name: {
            str(n): round(
                float(np.median(np.abs(attribution.completeness_error(net, objective, u, rule(n)) / change))),
                4,
            )
            for n in STEPS
        }
        for name, rule in rules.items()
    }


def sheet(net: sf.Network) -> np.ndarray:
    """Two classes of one picture, by every method."""
    labels = ("spiral", "hearts")
    u = joined(*(draw(label, np.random.default_rng(k), net.input_shape[1]) for k, label in enumerate(labels)))
    picture = np.ascontiguousarray(np.moveaxis(to_uint8(u), 0, -1))
    rows = [
        [
            picture,
            *(attribution.heatmap(METHODS[name](net, sf.Class(label), u)) for name in SHOWN.values()),
        ]
        for label in labels
    ]
    return contact_sheet(
        rows,
        row_labels=labels,
        column_labels=["picture", *SHOWN],
        title=f"which pixels speak for a class, to {net.name}",
        cell=192,
    )


def parts(record: Record) -> Parts:
    """The generated parts of docs/attribution.md."""
    networks = record["networks"]
    shares = [[name, *(str(n["share"][name]) for n in networks.values())] for name in METHODS]
    errors = [
        [rule, network, *(f"{100 * e:.1f} %" for e in n["incomplete"][rule].values())]
        for rule in ("Gauss-Legendre", "midpoint")
        for network, n in networks.items()
    ]
    return {
        "shares": table(["share in the half of the class", *networks], *shares),
        "errors": table(["rule", "network", *(f"{n} steps" for n in STEPS)], *errors),
    }


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def main() -> None:
    """Run, write the record, the picture and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shared", type=Path, nargs="?", help="folder with models/ and images/")
    options = parser.parse_args()
    net = sf.load("builtin:shapes-vgg")
    tasks = [(net, *drawn_pairs(net, PAIRS))]
    if options.shared is not None:
        real = sf.load(options.shared / "models/squeezenet1_1.onnx", preprocess="torch")
        tasks.append((real, *photographed_pairs(real, options.shared / "images", PAIRS)))
    record: Record = {
        "what": f"{PAIRS} pictures of two classes for each network; quadrature from black, on the left class",
        "date": date.today().isoformat(),
        "machine": machine(2),
        "networks": {
            net.name: {
                "share": localised(net, u, pairs),
                "incomplete": incomplete(net, u[:8], [pair[0] for pair in pairs[:8]]),
            }
            for net, u, pairs in tasks
        },
    }
    write_record(RECORD, record)
    palette = Image.fromarray(sheet(net)).quantize(256)  # half the bytes, and hardly a difference to the eye
    palette.save(IMAGES / "attribution.png", optimize=True)
    write_pages("attribution.py", pages())


if __name__ == "__main__":
    main()
