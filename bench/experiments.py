"""The page about the experiments, from what they measured.

    python bench/experiments.py --copy out/table1      # take a finished table 1 into bench/results
    python bench/experiments.py --sheet                # draw the sheet of generated pictures, a minute
    python bench/experiments.py                        # the page only

docs/experiments.md says with which command the table was made.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from generated import Parts, machine, read_record, table, write_pages, write_record
from paths import DOCS, IMAGES, RESULTS
from PIL import Image

import sobolevflow as sf
from sobolevflow.experiments import figure4
from sobolevflow.experiments.folder import Folder
from sobolevflow.experiments.photographs import find_photographs
from sobolevflow.experiments.published import published
from sobolevflow.experiments.recipes import INVERT
from sobolevflow.experiments.work import Subject, Work
from sobolevflow.models.shapes import CLASSES, draw
from sobolevflow.pictures import write_image

PAGE = DOCS / "experiments.md"
TABLE, TUNING, FACTS = (RESULTS / name for name in ("table1.csv", "table1-tuning.csv", "table1.json"))
CHOICE = RESULTS / "invert-default.csv"
SHEET = IMAGES / "inversions.png"
PAPERS = ("TV", "Sobolev fluid", "Sobolev fluid-elastic")  # the three of the paper's table
Row = dict[str, str]
Key = tuple[str, str, str]


def read(path: Path) -> list[Row]:
    with path.open() as file:
        return list(csv.DictReader(file))


def by_layer(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """The rows of every network, layer and judge."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault((row["network"], row["layer"], row["judge"]), []).append(row)
    return found


def pages() -> dict[Path, Parts]:
    """The generated parts of docs/experiments.md."""
    rows, tuning = read(TABLE), read(TUNING)
    return {
        PAGE: {
            "table1": "\n\n".join(_section(key, each) for key, each in by_layer(rows).items()),
            "ratios": ratios(rows),
            "grid": grid(tuning),
            "default": choice(read(CHOICE)),
        }
    }


def _section(key: Key, rows: Sequence[Row]) -> str:
    network, layer, judge = key
    body = [
        [
            row["method"],
            row["recipe"] or "-",
            f"{float(row['top1']):.2f} ({float(row['top1_low']):.2f} to {float(row['top1_high']):.2f})",
            f"{float(row['top5']):.2f}",
            f"{float(row['probability']):.3f}",
            f"{float(row['feature_error']):.3f}" if row["feature_error"] else "-",
            f"{float(row['psnr']):.1f}" if row["psnr"] else "-",
        ]
        for row in rows
    ]
    heads = ["method", "chosen", "top-1", "top-5", "probability", "feature error", "PSNR, dB"]
    return f"**{network}, `{layer}`, judged by {judge}** ({rows[0]['photographs']} photographs)\n\n" + table(
        heads, *body
    )


def ratios(rows: Sequence[Row]) -> str:
    """How often ours is recognised relative to the best of the paper's three methods."""
    body = []
    for (network, layer, judge), each in by_layer(rows).items():
        shares = {row["method"]: row for row in each}
        if INVERT not in shares or not set(PAPERS) <= shares.keys():
            continue
        best = max(PAPERS, key=lambda method: float(shares[method]["top1"]))
        best5 = max(PAPERS, key=lambda method: float(shares[method]["top5"]))
        body.append(
            [
                f"{network} `{layer}` -> {judge}",
                f"{best}: {float(shares[best]['top1']):.2f}",
                f"{float(shares[INVERT]['top1']):.2f}",
                _times(shares[INVERT]["top1"], shares[best]["top1"]),
                _times(shares[INVERT]["top5"], shares[best5]["top5"]),
            ]
        )
    return table(["", "best of the paper's, top-1", INVERT, "ratio, top-1", "ratio, top-5"], *body)


def _times(ours: str, theirs: str) -> str:
    return f"{float(ours) / float(theirs):.2f}" if float(theirs) else "theirs is 0"


def grid(tuning: Sequence[Row]) -> str:
    """Every candidate that was tried, and the one chosen."""
    body = [
        [
            row["network"],
            row["method"],
            row["recipe"],
            f"{float(row['top1']):.2f}",
            f"{float(row['probability']):.3f}",
            "chosen" if row["chosen"] == "True" else "",
        ]
        for row in tuning
    ]
    return table(["network", "method", "candidate", "top-1", "probability", ""], *body)


def choice(rows: Sequence[Row]) -> str:
    """What the default was chosen between."""
    body = [
        [f"{row['network']} `{row['layer']}`", row["gamma"], row["top1"], row["top5"], row["probability"]]
        for row in rows
    ]
    return table(["", "gamma", "top-1", "top-5", "probability"], *body)


def draw_sheet() -> None:
    """Inversions of generated pictures from two layers of a bundled network."""
    with tempfile.TemporaryDirectory() as folder:
        for k, name in enumerate(CLASSES[:6]):
            write_image(Path(folder, f"{k:02d}_{name}.png"), draw(name, np.random.default_rng(k), 96))
        net = sf.load("builtin:shapes-vgg")
        layer = "block4_relu1"
        work = Work(Folder(Path(folder, "out")), steps=300, progress=False)
        settings = published("table1/vgg19")
        figure4.run([Subject(net, (layer,))], find_photographs(folder), work, settings)
        shutil.copy(next(Path(folder, "out").glob("figure4-*.png")), SHEET)
    picture = Image.open(SHEET).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    picture.save(SHEET, optimize=True)


def copy(folder: Path) -> None:
    shutil.copy(folder / "table1.csv", TABLE)
    shutil.copy(folder / "tuning.csv", TUNING)
    write_record(FACTS, {**read_record(folder / "manifest.json"), "machine": machine(2)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--copy", type=Path, metavar="FOLDER", help="of a finished experiment table1")
    parser.add_argument("--sheet", action="store_true", help="draw the sheet anew")
    options = parser.parse_args()
    if options.copy:
        copy(options.copy)
    if options.sheet:
        draw_sheet()
    write_pages("experiments.py", pages())


if __name__ == "__main__":
    main()
