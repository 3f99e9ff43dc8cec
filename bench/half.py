"""What half precision does to scores and gradients of networks, on photographs; on the CPU, where it is slow.

    python bench/half.py squeezenet1_1.onnx:torch mobilenet_v2.onnx:tf --photos photos/

A network is followed by its pre-processing. Writes bench/results/half.json and the table of docs/gpu.md.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import generated
import numpy as np
from generated import table, with_blocks

import sobolevflow as sf

ROOT = Path(__file__).parent.parent
RECORD, PAGE = ROOT / "bench/results/half.json", ROOT / "docs/gpu.md"
HALF = sf.Device("cpu", precision="float16")
Record = dict[str, Any]


def errors(path: Path, preprocess: str, photos: list[Path]) -> Record:
    """Errors of value and gradient of class scores, relative, over the photographs."""
    net = sf.load(path, preprocess=preprocess)
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


def half_table(record: Record) -> str:
    body = [
        [
            row["network"],
            f"{row['value']:g}",
            f"{row['gradient'][1]:g} ({row['gradient'][0]:g} to {row['gradient'][2]:g})",
        ]
        for row in record["rows"]
    ]
    return table(["network", "top score, relative error", "its gradient, relative error (L2)"], *body)


def page(record: Record) -> str:
    """docs/gpu.md with its table made anew from the record."""
    return with_blocks(PAGE.read_text(encoding="utf-8"), "half.py", {"half": half_table(record)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="FILE:PREPROCESS")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=24, help="photographs")
    options = parser.parse_args()
    endings = {".jpg", ".jpeg", ".png"}
    photos = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in endings)[: options.count]
    rows = [
        errors(Path(path), preprocess, photos)
        for path, _, preprocess in (name.rpartition(":") for name in options.networks)
    ]
    record = {"date": date.today().isoformat(), "machine": generated.machine(2), "rows": rows}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    main()
