"""What half precision does to scores, gradients and class images; on the CPU, where that can be had as well.

    python bench/half.py a.onnx:torch b.onnx:tf --labels classes.txt --photos photos/

Two networks of the same classes, each followed by its pre-processing; each judges the class images of the
other. Writes bench/results/half.json and the table of docs/gpu.md.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

import numpy as np
from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from paths import DOCS, RESULTS

import sobolevflow as sf

RECORD, PAGE = RESULTS / "half.json", DOCS / "gpu.md"
HALF = sf.Device("cpu", precision="float16")
CLASSES, STEPS = 24, 100


def errors(net: sf.Network, photos: list[Path]) -> Record:
    """Errors of value and gradient of class scores, relative, over the photographs."""
    u = np.stack([sf.read_image(p, size=net.input_shape[1:]) for p in photos])
    objective = sf.Class([int(k) for k in net.scores(u)[:, net.offset :].argmax(axis=1)])
    (value, g), (half_value, half) = (
        sf.value_and_grad(net, objective, device=device)(u) for device in (sf.Device("cpu"), HALF)
    )
    off = [float(np.linalg.norm(a - b) / np.linalg.norm(a)) for a, b in zip(g, half, strict=True)]
    return {
        "network": net.name,
        "photographs": len(u),
        "value": float(f"{np.median(np.abs(half_value - value) / np.abs(value)):.2g}"),
        "gradient": [float(f"{q:.2g}") for q in np.quantile(off, (0, 0.5, 1))],
    }


def descents(net: sf.Network, judge: sf.Network, classes: list[int]) -> Record:
    """How often another network recognises classes in their images, by the precision that made them."""
    found: Record = {}
    for device in (sf.Device("cpu"), HALF):
        u = sf.visualize(net, sf.Class(classes), steps=STEPS, device=device, progress=False).u
        found[device.precision] = {
            "top1": round(float(np.mean(sf.metrics.in_top(judge, u, classes))), 3),
            "probability": round(float(np.mean(sf.metrics.probability(judge, u, classes))), 3),
        }
    return found


def half_table(record: Record) -> str:
    heading = ["network", "top score, relative error", "its gradient, relative error (L2)"]
    heading += [f"class images recognised by the other, {p}" for p in ("float32", "float16")]
    body = [
        [
            row["network"],
            f"{row['value']:g}",
            f"{row['gradient'][1]:g} ({row['gradient'][0]:g} to {row['gradient'][2]:g})",
            *(f"{row['descents'][p]['top1']:.2f}" for p in ("float32", "float16")),
        ]
        for row in record["rows"]
    ]
    return table(heading, *body)


def pages() -> dict[Path, Parts]:
    """The generated part of docs/gpu.md."""
    return {PAGE: {"half": half_table(read_record(RECORD))}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs=2, metavar="FILE:PREPROCESS")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="of both networks")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=24, help="photographs")
    options = parser.parse_args()
    endings = {".jpg", ".jpeg", ".png"}
    photos = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in endings)[: options.count]
    named = [name.rpartition(":") for name in options.networks]
    a, b = (sf.load(path, preprocess=preprocess, labels=options.labels) for path, _, preprocess in named)
    rows = []
    for net, judge in ((a, b), (b, a)):
        classes = [int(k) for k in np.linspace(0, judge.classes - judge.offset - 1, CLASSES + 2)[1:-1]]
        rows.append({**errors(net, photos), "descents": descents(net, judge, classes)})
        print(json.dumps(rows[-1]), flush=True)
    record = {"date": date.today().isoformat(), "machine": machine(2), "rows": rows}
    write_record(RECORD, record)
    write_pages("half.py", pages())


if __name__ == "__main__":
    main()
