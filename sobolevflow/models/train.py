"""Train the bundled networks on shape pictures and write their .onnx files.

    python -m sobolevflow.models.train --help

Needs the extra ``train``. Pictures are drawn as training goes, so that none is seen twice.
After a first part without, half of the loss is taken on pictures under attack: the fast
gradient sign method with a random start (arXiv:2001.03994). A network that must resist small
perturbations has input gradients aligned with what a person sees, and pre-images of one
network then convince the other too.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from . import shapes
from .architectures import ARCHITECTURES, INPUT, OUTPUT, Node
from .augment import augment
from .onnx_file import fold_batch_normalization, to_onnx

PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "scale": 1.0, "order": "rgb"}
STATISTICS = ("mean", "variance")
TEST_SEED = 1_000_003
REPORTS = 20

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """What determines the weights, besides the architecture and the versions of the libraries.

    `epsilon` is the reach of the attack in the unit of the picture, `unattacked_part` the part of the
    steps before it begins, and `small_part` the part during which pictures are drawn with an edge
    length of `small_size`, which saves time and varies the scale of the shapes.
    """

    seed: int = 20260
    steps: int = 2000
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    epsilon: float = 6 / 255
    unattacked_part: float = 0.25
    small_part: float = 0.7
    small_size: int = 64
    threads: int = 1


# The dense network learns more slowly than the other.
RECIPES = {"shapes-vgg": Recipe(), "shapes-dense": Recipe(steps=4500)}


# --- the network ------------------------------------------------------------------------------


def initialise(nodes: Sequence[Node], rng: torch.Generator) -> Parameters:
    """Draw the weights (He, fan-in); biases and means are zero, scales and variances one."""
    parameters: Parameters = {}
    for node in nodes:
        for name, shape in node.parameters.items():
            if name == "weight":
                gain = 1 if node.output == OUTPUT else 2
                value = torch.randn(shape, generator=rng) * math.sqrt(gain / math.prod(shape[1:]))
            else:
                value = torch.full(shape, 1.0 if name in ("scale", "variance") else 0.0)
            parameters[f"{node.output}.{name}"] = value.requires_grad_(name not in STATISTICS)
    return parameters


def forward(nodes: Sequence[Node], parameters: Parameters, image: Tensor, training: bool) -> Tensor:
    """Logits of pictures in [0, 1]; in training, batch normalization updates its running statistics."""
    mean, std = (torch.tensor(PREPROCESS[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    values = {INPUT: (image - mean) / std}
    for node in nodes:
        arguments = [values[name] for name in node.inputs]
        values[node.output] = _run(node, arguments, parameters, training)
    return values[OUTPUT]


def _run(node: Node, arguments: list[Tensor], parameters: Parameters, training: bool) -> Tensor:
    x = arguments[0]
    p = [parameters[f"{node.output}.{name}"] for name in node.parameters]
    attributes = node.attributes
    match node.op:
        case "Conv":
            padding = attributes["pads"][0]
            return F.conv2d(x, p[0], p[1], stride=attributes["strides"], padding=padding)
        case "BatchNormalization":
            scale, bias, mean, variance = p
            return F.batch_norm(x, mean, variance, scale, bias, training, 0.02, attributes["epsilon"])
        case "Relu":
            return F.relu(x)
        case "MaxPool":
            return F.max_pool2d(x, attributes["kernel_shape"])
        case "AveragePool":
            return F.avg_pool2d(x, attributes["kernel_shape"])
        case "GlobalAveragePool":
            return x.mean((2, 3), keepdim=True)
        case "Concat":
            return torch.cat(arguments, dim=attributes["axis"])
        case "Flatten":
            return x.flatten(attributes["axis"])
        case "Gemm":
            return F.linear(x, p[0], p[1])
    raise ValueError(f"No torch equivalent of {node.op} ({node.output}): add a case to _run.")


# --- training ----------------------------------------------------------------------------------


def pictures(n: int, rng: np.random.Generator, size: int = shapes.SIZE) -> tuple[Tensor, Tensor]:
    """Draw a labelled batch of fresh pictures, in the memory layout that convolves fastest."""
    images, labels = shapes.generate(n, rng, size)
    return torch.from_numpy(images).contiguous(memory_format=torch.channels_last), torch.from_numpy(labels)


def attack(
    nodes: Sequence[Node],
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    rng: torch.Generator,
    training: bool,
) -> tuple[Tensor, Tensor]:
    """Loss at a random start, and pictures within `epsilon` that one sign step makes worse.

    In training the gradients of that loss with respect to the parameters accumulate as well, so
    that its backward pass serves both purposes.
    """
    eps = recipe.epsilon
    start = (torch.rand(images.shape, generator=rng) * 2 - 1) * eps
    perturbed = (images + start).requires_grad_()
    logits = forward(nodes, parameters, perturbed, training)
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    if training:
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = perturbed.grad
    else:
        (gradient,) = torch.autograd.grad(loss, perturbed)
    assert gradient is not None
    step = (start + 1.25 * eps * gradient.sign()).clamp(-eps, eps)
    return loss.detach(), (images + step).clamp(0, 1)


def train(nodes: Sequence[Node], recipe: Recipe) -> tuple[Parameters, list[dict[str, float]]]:
    """Train from scratch; returns the parameters and the mean losses of each twentieth of the run."""
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    rng = torch.Generator().manual_seed(recipe.seed)
    draw_rng = np.random.default_rng(recipe.seed)
    parameters = initialise(nodes, rng)
    trained = [p for p in parameters.values() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.15
    )
    losses = []
    for step in range(recipe.steps):
        size = recipe.small_size if step < recipe.small_part * recipe.steps else shapes.SIZE
        images, labels = pictures(recipe.batch, draw_rng, size)
        images = augment(images, rng).contiguous(memory_format=torch.channels_last)
        optimiser.zero_grad()
        clean, attacked_images = attack(nodes, parameters, images, labels, recipe, rng, training=True)
        attacked = clean
        if step >= recipe.unattacked_part * recipe.steps:
            logits = forward(nodes, parameters, attacked_images, training=True)
            attacked = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            attacked.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        losses.append((float(clean), float(attacked.detach())))
        if (step + 1) % max(recipe.steps // REPORTS, 1) == 0:
            print(
                f"  step {step + 1:5d}  loss clean, attacked:", *np.mean(losses[-50:], 0).round(3), flush=True
            )
    return parameters, list(_summary(losses))


def _summary(losses: Sequence[tuple[float, float]]) -> Iterator[dict[str, float]]:
    seen = 0
    for part in np.array_split(np.array(losses), min(REPORTS, len(losses))):
        seen += len(part)
        clean, attacked = part.mean(0)
        yield {"steps": seen, "clean": round(float(clean), 4), "attacked": round(float(attacked), 4)}


def evaluate(nodes: Sequence[Node], parameters: Parameters, recipe: Recipe, n: int = 2000) -> dict[str, Any]:
    """Accuracy on `n` pictures of a seed that training never uses: plain, augmented and attacked."""
    rng = torch.Generator().manual_seed(TEST_SEED)
    draw_rng = np.random.default_rng(TEST_SEED)
    right: dict[str, list[Tensor]] = {"plain": [], "augmented": [], "attacked": []}
    for count in [100] * (n // 100):
        images, labels = pictures(count, draw_rng)
        _, attacked = attack(nodes, parameters, images, labels, recipe, rng, training=False)
        for kind, x in ("plain", images), ("augmented", augment(images, rng)), ("attacked", attacked):
            with torch.no_grad():
                right[kind].append(forward(nodes, parameters, x, False).argmax(1) == labels)
    accuracy = {kind: round(float(torch.cat(r).float().mean()), 4) for kind, r in right.items()}
    return {"pictures": n, "seed": TEST_SEED, "accuracy": accuracy}


# --- files --------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Versions of what has an influence on the weights."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "onnx": onnx.__version__,
    }


def run(name: str, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Train, evaluate and write one network; returns its entry in the training log."""
    nodes = ARCHITECTURES[name](len(shapes.CLASSES))
    started = time.perf_counter()
    parameters, losses = train(nodes, recipe)
    seconds = time.perf_counter() - started
    evaluation = evaluate(nodes, parameters, recipe)
    doc = (
        f"{name}: recognises {len(shapes.CLASSES)} kinds of shape pictures. "
        f"Trained by sobolevflow.models.train: seed {recipe.seed}, {recipe.steps} steps of {recipe.batch}."
    )
    arrays = {key: value.detach().numpy() for key, value in parameters.items()}
    nodes, arrays = fold_batch_normalization(nodes, arrays)
    model = to_onnx(
        name, nodes, arrays, size=shapes.SIZE, labels=shapes.CLASSES, preprocess=PREPROCESS, doc=doc
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / f"{name}.onnx")
    return {
        "recipe": asdict(recipe),
        "versions": versions(),
        "weights": sum(array.size for array in arrays.values()),
        "pictures_seen": recipe.steps * recipe.batch,
        "seconds": round(seconds, 1),
        "losses": losses,
        "test": evaluation,
    }


def write_log(entries: dict[str, Any], path: Path) -> None:
    """Merge the entries of newly trained networks into the log."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | entries, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sobolevflow.models.train",
        description="Train the bundled networks; write their .onnx files and training-log.json.",
    )
    parser.add_argument("--network", choices=ARCHITECTURES, help="train only this one (default: all)")
    numbers = ("steps", "batch", "seed", "threads")
    for name in numbers:
        defaults = ", ".join(dict.fromkeys(str(getattr(recipe, name)) for recipe in RECIPES.values()))
        parser.add_argument(f"--{name}", type=int, help=f"default: {defaults}")
    parser.add_argument("--output", type=Path, default=Path("."), help="folder for the files (default: here)")
    options = parser.parse_args(arguments)
    given = {name: value for name in numbers if (value := getattr(options, name)) is not None}
    for name in [options.network] if options.network else ARCHITECTURES:
        recipe = replace(RECIPES[name], **given)
        print(f"{name}: {recipe}")
        entry = run(name, recipe, options.output)
        print(f"  {entry['seconds']} s, accuracy {entry['test']['accuracy']}")
        write_log({name: entry}, options.output / "training-log.json")


if __name__ == "__main__":
    main()
