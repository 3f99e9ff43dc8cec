"""``sobolevflow inspect``: what a model takes, its classes, its layers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import did_you_mean
from ..named import as_name
from .given import MODEL, load, say_notes_of
from .options import Argument, Given, command
from .printing import OK, console, escaped, readable, say, show
from .types import Kind

if TYPE_CHECKING:
    from ..network import LayerInfo, Network

_MOST_LABELS = 32  # class names that are printed; --json has them all
_SCORES = "scores"  # how the output is marked that the class scores are read from


@command(
    "inspect",
    "list what a model takes, its classes, and the layers to ask for",
    "sobolevflow inspect model.onnx --grep relu",
    (
        *MODEL,
        Argument("--grep", "only layers whose name or operator contains this", Kind("TEXT", as_name)),
        Argument("--quiet", "no notes", flag=True),
        Argument("--json", "print JSON instead of a table", flag=True),
    ),
)
def inspect(given: Given) -> int:
    """Print facts and a table of layers, and say what is to be known of the network beside them."""
    net = load(given)
    wanted = given.get("grep", "")
    layers = [info for info in net.layers if _has(info, wanted.casefold())]
    if "json" in given:
        outputs = [{"name": name, "scores": mark == _SCORES} for name, mark in _outputs(net).items()]
        found = {"outputs": outputs, "notes": net.notes(), "layers": [_as_dict(info) for info in layers]}
        print(json.dumps({**net.to_dict(), **found}, indent=1))
    else:
        _print_network(net, layers)
        say_notes_of(net, given, ())
    if "grep" in given and not layers:
        words = [word for info in net.layers for word in (info.name, info.op)]
        say(f"no layer or operator has {wanted!r} in its name.{did_you_mean(wanted, dict.fromkeys(words))}")
    return OK


def _has(info: LayerInfo, wanted: str) -> bool:
    return wanted in info.name.casefold() or wanted in info.op.casefold()


def _as_dict(info: LayerInfo) -> dict[str, Any]:
    shape = None if info.shape is None else list(info.shape)
    return {**vars(info), "shape": shape}


def _outputs(net: Network) -> dict[str, str]:
    """The outputs of the file, each with its mark in the table."""
    scored = None if net.to_dict()["classes"] is None else net.classes_of().output
    return {name: _SCORES if name == scored else "yes" for name in net.outputs}


def _print_network(net: Network, layers: list[LayerInfo]) -> None:
    from rich.table import Table

    drawn = console()
    facts = net.to_dict()
    if facts["classes"] is None:
        del facts["scores"]
    if net.labels is not None and len(net.labels) > _MOST_LABELS:
        del facts["labels"]
    marks = _outputs(net)
    if len(marks) > 1:
        named = (f"{name} ({mark})" if mark == _SCORES else name for name, mark in marks.items())
        facts["outputs"] = ", ".join(named)
    for key, value in facts.items():
        if value is not None:
            drawn.print(f"[bold]{key:<12}[/bold] {readable(value)}")
    columns = ("layer", "operator", "shape", "dtype", "gradient", "output")
    table = Table(*columns, box=None, header_style="bold")
    for info in layers:
        shape = "?" if info.shape is None else " x ".join(map(str, info.shape))
        gradient = "yes" if info.differentiable else "no"
        table.add_row(escaped(info.name), info.op, shape, info.dtype, gradient, marks.get(info.name, ""))
    if layers:
        drawn.print(table)
    show(drawn)
