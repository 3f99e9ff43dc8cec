"""``sobolevflow gradient``: the gradient of an objective as a plain ONNX model."""

from __future__ import annotations

import json
from typing import Any

from ..named import as_name
from .given import MODEL, PICTURES, load, objective, objectives, of_offered, say_notes_of
from .options import Argument, Given, Group, Table, command, keywords
from .printing import OK, print_json, readable, tell
from .types import INTEGER, NEW_FILE, Kind

_FORWARDED = (
    Argument("-o/--output", "ONNX file to write", NEW_FILE, required=True, keyword="path"),
    Argument(
        "--no-defaults",
        "let class, unit or target be inputs that must be fed, as onnxruntime for JavaScript wants them",
        flag=False,
        keyword="defaults",
    ),
)

_BATCH = Argument("--batch", "number of images (default: one a target)", INTEGER)
_ACTIVATION = Argument(
    "--activation",
    "layer to give out beside value and gradient; may be repeated",
    Kind("LAYER", as_name),
    repeat=True,
)


def _table() -> Table:
    return (
        *MODEL,
        Group("objective", objectives("gradient"), "one of", only_one="must"),
        of_offered("gradient"),
        PICTURES,
        Group(
            "output",
            (
                *(*_FORWARDED, _BATCH, _ACTIVATION),
                Argument("--quiet", "no notes", flag=True),
                Argument("--json", "print the inputs and outputs as JSON", flag=True),
            ),
        ),
    )


@command(
    "gradient",
    "write the gradient of an objective as a plain ONNX model",
    "sobolevflow gradient model.onnx --class 3 --preprocess torch -o grad.onnx",
    _table,
)
def gradient(given: Given) -> int:
    """Write the model, and print what it takes and gives."""
    from ..files import check_output
    from ..gradient import gradient_model_and_notes, signature
    from ..network import MODELS
    from ..objectives import natural_batch
    from ..onnxgrad import size_of

    check_output(given["output"], MODELS)
    net = load(given)
    asked = objective(net, given, "gradient")
    assert asked is not None  # the parser asks for one
    batch = given.get("batch", natural_batch(asked))
    activations = list(dict.fromkeys(given.get("activation", ())))
    model, notes = gradient_model_and_notes(
        net, asked, batch=batch, activations=activations, **keywords(given, _FORWARDED)
    )
    say_notes_of(net, given, notes)
    facts = {
        "model": given["output"],
        "gradient_of": f"{asked} of {net.name}",
        "nodes": len(model.graph.node),
        "bytes": sum(map(size_of, model.graph.initializer)),
        **signature(model, activations),
    }
    if "json" in given:
        print_json(facts)
    else:
        _print_signature(facts)
    return OK


def _print_signature(facts: dict[str, Any]) -> None:
    size = f"{facts['nodes']} nodes, {facts['bytes'] / 1e6:.1f} MB of constants"
    tell(f"wrote {facts['model']}: {facts['gradient_of']}; {size}")
    rows = []
    for kind in ("input", "output"):
        for tensor in facts[f"{kind}s"]:
            default = ""
            if tensor.get("optional"):
                given = tensor["default"]
                default = "default in the file" if given is None else f"default {json.dumps(given)}"
            shape = " x ".join(map(str, tensor["shape"])) or "scalar"
            rows.append((kind, readable(tensor["name"]), shape, tensor["dtype"], default))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
