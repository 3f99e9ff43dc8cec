"""One class of a real network under every scheme, judged by the network itself and by another.

    python bench/king_crab.py ../shared/models

Visualizes "king crab" of SqueezeNet 1.1 with all six demons schemes and total variation,
from several seeds. Any image that excites the class is king crab to the network itself, noise
included; so the rank is recorded that MobileNetV2, which took no part, gives to the class.
Writes bench/results/king_crab.json, docs/images/king-crab.png and parts of docs/king-crab.md.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np
from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from paths import DOCS, IMAGES, RESULTS

import sobolevflow as sf
from sobolevflow.experiments.demo import scheme_sheet, schemes
from sobolevflow.pictures import write_image

RECORD, PAGE = RESULTS / "king_crab.json", DOCS / "king-crab.md"
PICTURE = IMAGES / "king-crab.png"
CLASS = "king crab"


def ranks(net: sf.Network, u: np.ndarray) -> list[int]:
    """Rank of the class among all classes of `net`, 1 for the best, for each image."""
    scores = net.scores(u)
    wanted = scores[:, [net.output_index(CLASS)]]
    return [int(k) for k in 1 + (scores > wanted).sum(axis=1)]


def run(folder: Path, steps: int, seeds: int) -> tuple[Record, dict[str, np.ndarray]]:
    """Visualize and judge; return the record and the images."""
    labels = folder / "imagenet_classes.txt"
    net = sf.load(folder / "squeezenet1_1.onnx", preprocess="torch", labels=labels)
    judge = sf.load(folder / "mobilenet_v2.onnx", preprocess="tf", labels=labels)
    rows, images = [], {}
    for name, scheme in schemes().items():
        result = sf.visualize(net, sf.Class(CLASS), scheme=scheme, steps=steps, batch=seeds)
        images[name] = result.image[0]
        assert result.value is not None
        rows.append(
            {
                "scheme": name,
                "score": [round(float(v), 2) for v in result.value],
                "own_rank": ranks(net, result.u),
                "judge_rank": ranks(judge, result.u),
                "seconds": result.manifest["timings"]["seconds"],
            }
        )
        print(rows[-1])
    record: Record = {
        "what": f"{CLASS} of SqueezeNet 1.1, {steps} steps, seeds 0 to {seeds - 1}; judge: MobileNetV2",
        "date": date.today().isoformat(),
        "machine": machine(2),
        "rows": rows,
    }
    return record, images


def parts(record: Record) -> Parts:
    """The generated parts of docs/king-crab.md."""
    body = []
    for row in record["rows"]:
        own, judge = (", ".join(map(str, row[key])) for key in ("own_rank", "judge_rank"))
        body.append([row["scheme"], own, judge, f"{np.median(row['judge_rank']):g}"])
    heading = ["scheme", "own rank, by seed", "MobileNetV2's rank, by seed", "median"]
    return {
        "what": f"{record['what']} ({record['date']}). The pictures are those of seed 0.",
        "ranks": table(heading, *body),
    }


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def main() -> None:
    """Run, write the record, the sheet and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path, help="folder with squeezenet1_1.onnx and mobilenet_v2.onnx")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    record, images = run(options.models, options.steps, options.seeds)
    write_record(RECORD, record)
    picture = scheme_sheet(images, title="king crab, SqueezeNet 1.1", cell=224)
    write_image(PICTURE, picture)
    write_pages("king_crab.py", pages())


if __name__ == "__main__":
    main()
