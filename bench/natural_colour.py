"""Classes of a real network with and without natural colours, judged by another network and by statistics.

    python bench/natural_colour.py ../shared/models                 # half an hour on two cores
    python bench/natural_colour.py ../shared/models --classes 12
    python bench/natural_colour.py ../shared/models --sheet         # the picture alone, some minutes

Visualizes every 25th class of SqueezeNet 1.1, 160 steps each, under four recipes. What is recorded is how
often MobileNetV2, which took no part, takes the picture for the class (top-1 and top-5, with Wilson's 95 %
interval), and how the power spectrum falls. Writes bench/results/natural_colour.json,
docs/images/natural-colour.jpg and parts of docs/natural-colour.md.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from paths import DOCS, IMAGES, RESULTS
from PIL import Image

import sobolevflow as sf
from sobolevflow import metrics
from sobolevflow.experiments.judging import naturalness
from sobolevflow.filters import Sobolev
from sobolevflow.pictures import contact_sheet
from sobolevflow.results.result import as_pictures

RECORD, PAGE = RESULTS / "natural_colour.json", DOCS / "natural-colour.md"
PICTURE = IMAGES / "natural-colour.jpg"
STEPS, BATCH, SHOWN, CELL = 160, 10, 6, 128
VIEWS: dict[str, Any] = {"jitter": 16, "rotate": 8, "zoom": 0.1}
SETTLING: dict[str, Any] = {
    "optimizer": "momentum",
    "tau": 1 / 255,
    "schedule": "cosine",
    "normalise": "after",
}
LARGE = Sobolev(gamma=1000.0)
RECIPES: dict[str, dict[str, Any]] = {
    "fluid 11 x 11": {"scheme": sf.fluid(Sobolev(size=11))},
    "fluid-elastic 11 x 11": {"scheme": sf.fluid_elastic(Sobolev(size=11))},
    "fluid 1000": {"scheme": sf.fluid(LARGE), **SETTLING, **VIEWS},
    "natural colour": {"scheme": sf.fluid(sf.NaturalColour() @ LARGE), **SETTLING, **VIEWS},
}


def run(folder: Path, count: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Visualize and judge; the record, and the images (N, H, W, C) by recipe."""
    net, labels = network(folder), folder / "imagenet_classes.txt"
    judge = sf.load(folder / "mobilenet_v2.onnx", preprocess="tf", labels=labels)
    classes, shown = chosen(count)
    rows, pictures = [], {}
    for name, settings in RECIPES.items():
        u = np.concatenate(
            [visualized(net, classes[k : k + BATCH], settings) for k in range(0, count, BATCH)]
        )
        rows.append({"recipe": name, **judged(net, judge, u, classes)})
        pictures[name] = as_pictures(u[shown])
        print(json.dumps(rows[-1]), flush=True)
    record = {
        "classes": count,
        "steps": STEPS,
        "shown": [net.class_name(classes[n]) for n in shown],
        "date": date.today().isoformat(),
        "machine": machine(2),
        "rows": rows,
    }
    return record, pictures


def network(folder: Path) -> sf.Network:
    labels = folder / "imagenet_classes.txt"
    return sf.load(folder / "squeezenet1_1.onnx", preprocess="torch", labels=labels)


def chosen(count: int) -> tuple[list[int], list[int]]:
    """The classes, and which of them are shown."""
    classes = list(range(0, 1000, 1000 // count))[:count]
    return classes, list(range(0, count, max(1, count // SHOWN)))[:SHOWN]


def visualized(net: sf.Network, classes: list[int], settings: dict[str, Any], first: int = 0) -> np.ndarray:
    """Images of the classes; `first` is the place of the first of them in its batch, and so its seed."""
    result = sf.visualize(net, sf.Class(classes), steps=STEPS, seed=first, progress=False, **settings)
    return result.u


def only_shown(folder: Path, count: int) -> dict[str, np.ndarray]:
    """The images that are shown, as `run` makes them."""
    net, (classes, shown) = network(folder), chosen(count)
    return {
        name: as_pictures(np.concatenate([visualized(net, [classes[n]], settings, n % BATCH) for n in shown]))
        for name, settings in RECIPES.items()
    }


def judged(net: sf.Network, judge: sf.Network, u: np.ndarray, classes: list[int]) -> dict[str, Any]:
    natural = naturalness(u)
    hits = {k: metrics.in_top(judge, u, classes, k) for k in (1, 5)}
    return {
        "own": float(metrics.in_top(net, u, classes).mean()),
        **{f"top{k}": float(found.mean()) for k, found in hits.items()},
        **{f"top{k}_interval": metrics.proportion_interval(found) for k, found in hits.items()},
        "slope": natural["slope"],
        "colourfulness": natural["colour"],
        "saturated": natural["saturated"],
    }


def parts(record: Record) -> Parts:
    """The generated parts of docs/natural-colour.md."""
    return {"measured": measured_table(record), "what": what(record)}


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def what(record: dict[str, Any]) -> str:
    return (
        f"{record['classes']} classes, {record['steps']} steps each, {record['date']}. Shown: "
        f"{', '.join(record['shown'])}."
    )


def measured_table(record: dict[str, Any]) -> str:
    rows = [
        [
            row["recipe"],
            f"{row['own']:.2f}",
            *(_share(row, f"top{k}") for k in (1, 5)),
            f"{row['slope']:.1f}",
            f"{row['colourfulness']:.2f}",
            f"{100 * row['saturated']:.0f} %",
        ]
        for row in record["rows"]
    ]
    heads = ["own top-1", "judge's top-1", "judge's top-5", "slope", "colour / contrast", "at 0 or 1"]
    return table(["recipe", *heads], *rows)


def _share(row: dict[str, Any], key: str) -> str:
    low, high = row[f"{key}_interval"]
    return f"{row[key]:.2f} ({low:.2f} to {high:.2f})"


def draw(pictures: dict[str, np.ndarray]) -> None:
    sheet = contact_sheet([list(p) for p in pictures.values()], row_labels=list(pictures), cell=CELL)
    Image.fromarray(sheet).save(PICTURE, quality=85)  # half the size of write_image's 95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?", help="folder with both networks; none: the page only")
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--sheet", action="store_true", help="draw the picture anew, and measure nothing")
    options = parser.parse_args()
    if options.models is not None and options.sheet:
        draw(only_shown(options.models, options.classes))
    elif options.models is not None:
        record, pictures = run(options.models, options.classes)
        write_record(RECORD, record)
        draw(pictures)
    write_pages("natural_colour.py", pages())


if __name__ == "__main__":
    main()
