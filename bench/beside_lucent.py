"""The default of `visualize` beside lucent's, on the same network, judged by two networks that took no part.

    python bench/beside_lucent.py ../shared/models                  # a quarter of an hour on two cores
    python bench/beside_lucent.py                                   # the page only

Classes of SqueezeNet 1.1, 160 gradient evaluations each: ours, and lucent 0.1.8 with its own defaults
(Fourier coefficients, decorrelated colour, its transforms, Adam) through onnx2torch. The recipe was chosen
among CANDIDATES by the first 20 classes of a random order, what is reported are the next 40. Everything is
found again in --cells when the script is stopped. Writes bench/results/lucent.json, docs/images/lucent.jpg
and parts of docs/recipes.md.
Needs the extra bench, and
`pip install --no-deps torch-lucent==0.1.8 kornia==0.4.1 tqdm ipython decorator`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from paths import DOCS, IMAGES, RESULTS, ROOT
from PIL import Image

import sobolevflow as sf
from sobolevflow.descent.defaults import natural_recipe
from sobolevflow.experiments.cells import Arrays, Store
from sobolevflow.experiments.descents import Pictures, Runner
from sobolevflow.experiments.judging import naturalness, recognised
from sobolevflow.experiments.recipes import Recipe
from sobolevflow.pictures import contact_sheet, to_uint8

RECORD, PAGE = RESULTS / "lucent.json", DOCS / "recipes.md"
PICTURE = IMAGES / "lucent.jpg"
STEPS, BATCH, TUNING, REPORTED, SHOWN, CELL = 160, 10, 20, 40, 8, 128
NETWORK = "squeezenet1_1.onnx"
JUDGES = {
    "MobileNetV2": ("mobilenet_v2.onnx", "tf"),
    "SqueezeNet": ("exporters/squeezenet_fp16.onnx", "caffe"),
}
DEFAULT = Recipe(steps=STEPS, **natural_recipe("visualize", (3, 224, 224)))
CANDIDATES = {
    "the default": DEFAULT,
    "tau 1/255, jitter 16, rotate 8, zoom 0.1": DEFAULT.but(tau=1 / 255, jitter=16, rotate=8.0, zoom=0.1),
}


def run(folder: Path, cells: Path) -> tuple[dict[str, Any], dict[str, Pictures]]:
    """Visualize and judge; the record, and the pictures of the classes reported by who made them."""
    labels = folder / "imagenet_classes.txt"
    net = sf.load(folder / NETWORK, preprocess="torch", labels=labels)
    judges = {
        name: sf.load(folder / file, preprocess=preprocess, labels=labels)
        for name, (file, preprocess) in JUDGES.items()
    }
    order = [int(k) for k in np.random.default_rng(1).permutation(1000)]
    tuning, reported = order[:TUNING], order[TUNING : TUNING + REPORTED]
    runner = Runner(Store(cells), batch=BATCH)
    tried = {name: runner.visualize(net, tuning, recipe) for name, recipe in CANDIDATES.items()}
    found = {
        "sobolevflow": runner.visualize(net, reported, DEFAULT),
        "lucent": by_lucent(runner.store, folder / NETWORK, reported),
    }
    everyone = {"own": net, **judges}
    record = {
        "classes": REPORTED,
        "steps": STEPS,
        "shown": [net.class_name(k) for k in reported[:SHOWN]],
        "date": date.today().isoformat(),
        "machine": machine(2, lucent="0.1.8"),
        "tuning": [said(runner.store, everyone, name, tried[name], tuning) for name in tried],
        "rows": [said(runner.store, everyone, name, found[name], reported) for name in found],
    }
    return record, found


def said(
    store: Store, judges: dict[str, sf.Network], name: str, found: Pictures, classes: Sequence[int]
) -> dict[str, Any]:
    """One row: what each network recognises, and how natural the pictures are."""
    by_judge = {who: recognised(store, judge, found.u, classes) for who, judge in judges.items()}
    mean = float(np.mean([by_judge[who]["top1"] for who in JUDGES]))
    return {"recipe": name, "mean_top1": mean, **by_judge, **naturalness(found.u)}


def by_lucent(store: Store, model: Path, classes: Sequence[int]) -> Pictures:
    """lucent's pictures of the classes, with its defaults, in as many gradient evaluations."""

    def compute() -> Arrays:
        parts = [_render(model, classes[k : k + BATCH]) for k in range(0, len(classes), BATCH)]
        u = np.concatenate(parts)
        return {"pixels": to_uint8(u), "value": np.zeros(len(u))}

    key = {"lucent": "0.1.8", "classes": list(classes), "steps": STEPS, "batch": BATCH, "model": model.name}
    found = store.get(key, compute)
    return Pictures(found["pixels"], found["value"], float("nan"))


def _render(model: Path, classes: Sequence[int]) -> np.ndarray:
    """(N, H, W, C) of one batch; each image has an objective of its own, its class's score."""
    from tests.support.torch_networks import torchvision_models

    torchvision_models()  # lets torchvision be imported without its compiled operators
    import onnx2torch
    import torch
    from lucent.optvis import objectives, param, render

    class Named(torch.nn.Module):
        """lucent asks for layers by the names of modules."""

        def __init__(self) -> None:
            super().__init__()
            self.scores = onnx2torch.convert(str(model))

        def forward(self, x: Any) -> Any:
            return self.scores(x)

    @objectives.wrap_objective()  # type: ignore[untyped-decorator]
    def each() -> Any:
        return lambda layer: -sum(layer("scores")[i, k] for i, k in enumerate(classes))

    torch.manual_seed(classes[0])
    np.random.seed(classes[0])  # noqa: NPY002  lucent draws from it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = render.render_vis(
            Named().eval(),
            each(),
            lambda: param.image(224, batch=len(classes)),
            thresholds=(STEPS,),
            progress=False,
            show_image=False,
            fixed_image_size=224,
        )
    return np.asarray(images[-1])


def parts(record: Record) -> Parts:
    """The generated parts of docs/recipes.md."""
    return {"classes": outcome(record), "tuned": tuned(record)}


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def outcome(record: dict[str, Any]) -> str:
    ours, theirs = record["rows"]
    ratio = ours["mean_top1"] / theirs["mean_top1"]
    return (
        f"{record['classes']} classes of SqueezeNet 1.1, {record['steps']} gradient evaluations each, "
        f"{record['date']}. Shown: {'; '.join(name.split(',')[0] for name in record['shown'])}.\n\n"
        f"{_table(record['rows'])}\n\n"
        f"The mean of the two judges' top-1 is {ratio:.2f} times lucent's."
    )


def tuned(record: dict[str, Any]) -> str:
    return _table(record["tuning"])


def _table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["own top-1", *(f"{name} top-1 / top-5" for name in JUDGES), "mean top-1", "slope"]
    return table(
        ["", *heads, "colour / contrast", "at 0 or 1"],
        *(
            [
                row["recipe"],
                f"{row['own']['top1']:.2f}",
                *(f"{row[name]['top1']:.2f} / {row[name]['top5']:.2f}" for name in JUDGES),
                f"{row['mean_top1']:.2f}",
                f"{row['slope']:.1f}",
                f"{row['colour']:.2f}",
                f"{100 * row['saturated']:.0f} %",
            ]
            for row in rows
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?", help="folder with the networks; none: the page only")
    parser.add_argument(
        "--cells", type=Path, default=ROOT / "out/lucent", help="where to keep and find pictures"
    )
    options = parser.parse_args()
    if options.models is not None:
        record, found = run(options.models, options.cells)
        write_record(RECORD, record)
        sheet = contact_sheet(
            [list(pictures.pixels[:SHOWN]) for pictures in found.values()], row_labels=list(found), cell=CELL
        )
        Image.fromarray(sheet).save(PICTURE, quality=85)
        print(outcome(record))
    write_pages("beside_lucent.py", pages())


if __name__ == "__main__":
    main()
