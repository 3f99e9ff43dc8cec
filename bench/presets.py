"""How often the pre-processing that `net.predict` proposes is the one that a network was trained with.

    python bench/presets.py ../shared/models ../shared/images

Photographs are taken by one, by three, by ten, and all together. Writes bench/results/presets.json and a part
of docs/guide.md.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np
from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from paths import DOCS, RESULTS

import sobolevflow as sf

RECORD, PAGE = RESULTS / "presets.json", DOCS / "guide.md"
ZERO_TO_255 = '{"scale": 255}'
NETWORKS = {
    "squeezenet1_1": ("SqueezeNet 1.1", "torch"),
    "mobilenet_v2": ("MobileNetV2", "tf"),
    "exporters/squeezenet_fp16": ("SqueezeNet, float16", "caffe"),
    "cifar10_resnet20": ("ResNet-20, CIFAR-10", "torch"),
    "cifar10_densenet40": ("DenseNet-40, CIFAR-10", ZERO_TO_255),
}
COUNTS = (1, 3, 10)
REPEATED = 60  # as many sets of photographs of each count
ALL = 32  # photographs that `predict` asks about


def proposals(net: sf.Network, photos: np.ndarray, rng: np.random.Generator) -> dict[str, list[str]]:
    """What is proposed, by the number of photographs."""
    found: dict[str, list[str]] = {}
    for count in COUNTS:
        drawn = [rng.choice(len(photos), count, replace=False) for _ in range(REPEATED)]
        found[str(count)] = [str(net.predict(photos[chosen]).proposed) for chosen in drawn]
    spread = np.linspace(0, len(photos) - 1, ALL).astype(int)
    found["all"] = [str(net.predict(photos[spread]).proposed)]
    return found


def run(models: Path, images: Path) -> Record:
    rows = []
    for file, (called, right) in NETWORKS.items():
        net = sf.load(models / f"{file}.onnx")
        photos = np.stack([sf.read_image(p, size=net.input_shape[1:]) for p in sorted(images.glob("*.jpg"))])
        found = proposals(net, photos, np.random.default_rng(0))
        shares = {count: float(np.mean([each == right for each in said])) for count, said in found.items()}
        rows.append({"network": called, "right": right, **shares, "proposed": found["all"][0]})
        print(rows[-1], flush=True)
    return {
        "what": f"share of {REPEATED} random sets of photographs; all: {ALL} of them",
        "date": date.today().isoformat(),
        "machine": machine(2),
        "rows": rows,
    }


def parts(record: Record) -> Parts:
    """The generated part of docs/guide.md."""
    heading = ["network", "trained with", "1 photograph", "3", "10", f"{ALL}"]
    body = [
        [
            row["network"],
            f"`{row['right']}`",
            *(f"{100 * row[str(count)]:.0f} %" for count in COUNTS),
            "right" if row["proposed"] == row["right"] else f"`{row['proposed']}`",
        ]
        for row in record["rows"]
    ]
    return {"presets": table(heading, *body)}


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def main() -> None:
    """Run, write the record and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path, help="folder with the networks")
    parser.add_argument("images", type=Path, help="folder with photographs")
    options = parser.parse_args()
    write_record(RECORD, run(options.models, options.images))
    write_pages("presets.py", pages())


if __name__ == "__main__":
    main()
