"""How often the pre-processing that `net.predict` proposes is the one that a network was trained with.

    python bench/presets.py ../shared/models ../shared/images

Photographs are taken one by one, three and ten together, and all. Writes bench/results/presets.json and a
part of docs/guide.md.
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
SETS = 200  # random ones of three and of ten
EVERY = 2  # of the photographs in the folder one is taken


def supports(net: sf.Network, photos: list[np.ndarray]) -> tuple[list[str], np.ndarray]:
    """What is tried, and the logarithm of the support that each photograph gives it."""
    found = [{each.preprocess: each.support for each in net.predict(photo).tried} for photo in photos]
    names = sorted(found[0])
    return names, np.log([[each[name] for name in names] for each in found])


def right_share(right: int, logs: np.ndarray, count: int, rng: np.random.Generator) -> float:
    """Of sets of so many photographs the share for which the right one has the most support.

    That of a set is the geometric mean, which is what `predict` finds for all of it.
    """
    if count == 1:
        return float((logs.argmax(axis=1) == right).mean())
    sets = [rng.choice(len(logs), count, replace=False) for _ in range(SETS)]
    return float(np.mean([logs[chosen].mean(axis=0).argmax() == right for chosen in sets]))


def run(models: Path, images: Path) -> Record:
    files = sorted(images.glob("*.jpg"))[::EVERY]
    rows = []
    for file, (called, right) in NETWORKS.items():
        net = sf.load(models / f"{file}.onnx")
        names, logs = supports(net, [sf.read_image(path, size=net.input_shape[1:]) for path in files])
        rng, known = np.random.default_rng(0), names.index(right)
        shares = {str(count): right_share(known, logs, count, rng) for count in COUNTS}
        proposed = names[int(logs.mean(axis=0).argmax())]
        rows.append({"network": called, "right": right, **shares, "proposed": proposed})
        print(rows[-1], flush=True)
    return {
        "what": f"each of {len(files)} photographs, {SETS} random sets of three and of ten, and all",
        "photographs": len(files),
        "date": date.today().isoformat(),
        "machine": machine(2),
        "rows": rows,
    }


def parts(record: Record) -> Parts:
    """The generated part of docs/guide.md."""
    heading = [
        "network",
        "trained with",
        "1 photograph",
        "3",
        "10",
        f"the mean of all {record['photographs']}",
    ]
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
