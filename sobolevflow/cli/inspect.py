"""``sobolevflow inspect``: what a model takes, its classes, its layers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import did_you_mean
from ..named import as_name
from ..text import MOST, apart
from .given import MODEL, load, say_notes_of
from .options import Argument, Given, command
from .printing import OK, columns, print_json, print_table, readable, say, table_width
from .types import Kind

if TYPE_CHECKING:
    from ..network import LayerInfo, Network

_MOST_LABELS = 32  # class names that are printed; --json has them all
_LEAST = 64  # characters that a name of facts has, however narrow the terminal: a hash is not cut
_SCORES = "scores"  # how the output is marked that the class scores are read from


@command(
    "inspect",
    "list what a model takes, its classes, and the layers to ask for",
    "sobolevflow inspect model.onnx --grep relu",
    (
        *MODEL,
        Argument("--grep", "only layers whose name or operator contains this", Kind("TEXT", as_name)),
        Argument("--layers", "only these: #N, the end of a name, or a pattern", Kind("GLOB", as_name)),
        Argument("--quiet", "no notes", flag=True),
        Argument("--json", "print JSON instead of a table", flag=True),
    ),
)
def inspect(given: Given) -> int:
    """Print facts and a table of layers, and say what is to be known of the network beside them."""
    net = load(given)
    wanted = given.get("grep", "")
    chosen = dict.fromkeys(net.layer_names(given["layers"])) if "layers" in given else net.shapes.keys()
    layers = [info for info in net.layers if info.name in chosen and _has(info, wanted.casefold())]
    if "json" in given:
        outputs = [{"name": name, "scores": mark == _SCORES} for name, mark in _outputs(net).items()]
        found = {"outputs": outputs, "notes": net.notes(), "layers": _as_dicts(layers, net)}
        print_json({**net.to_dict(), **found}, indent=1)
    else:
        _print_network(net, layers)
        say_notes_of(net, given, ())
    if "layers" in given and not chosen:
        say(f"no layer is {given['layers']!r}")
    elif "grep" in given and not layers:
        words = [word for info in net.layers for word in (info.name, info.op)]
        say(f"no layer or operator has {wanted!r} in its name.{did_you_mean(wanted, dict.fromkeys(words))}")
    return OK


def _has(info: LayerInfo, wanted: str) -> bool:
    return wanted in info.name.casefold() or wanted in info.op.casefold()


def _as_dicts(layers: Sequence[LayerInfo], net: Network) -> list[dict[str, Any]]:
    shorter = _shorter(net)
    return [
        {
            **vars(info),
            "shape": None if info.shape is None else list(info.shape),
            **dict(zip(("index", "short"), shorter[info.name], strict=True)),
        }
        for info in layers
    ]


def _shorter(net: Network) -> dict[str, tuple[int, str]]:
    """The index of each layer in the file, and the shortest end of its name that means it alone."""
    from ..network import shortest

    names = list(net.shapes)
    return {name: (k, short) for k, (name, short) in enumerate(zip(names, shortest(names), strict=True))}


def _outputs(net: Network) -> dict[str, str]:
    """The outputs of the file, each with its mark in the table."""
    scored = None if net.to_dict()["classes"] is None else net.classes_of().output
    return {name: _SCORES if name == scored else "yes" for name in net.outputs}


def _print_network(net: Network, layers: list[LayerInfo]) -> None:
    facts = net.to_dict()
    if facts["classes"] is None:
        del facts["scores"]
    if net.labels is not None and len(net.labels) > _MOST_LABELS:
        del facts["labels"]
    width = columns()
    marks, most = _outputs(net), min(max(width - 13, _LEAST), MOST)
    if len(marks) > 1:
        named = zip(apart(list(marks), most), marks.values(), strict=True)
        facts["outputs"] = [f"{name} ({mark})" if mark == _SCORES else name for name, mark in named]
    for key, value in facts.items():
        if value is not None:
            print(f"{key:<12} {readable(value, most + len(_SCORES) + 3)}")
    if layers:
        _print_layers(layers, marks, width, _shorter(net))


_HEADS = ("index", "layer", "operator", "shape", "dtype", "gradient", "output", "short")


def _print_layers(
    layers: Sequence[LayerInfo], marks: dict[str, str], width: int, shorter: dict[str, tuple[int, str]]
) -> None:
    """A table; where its rows are longer than a line, the name of each layer above what is said of it.

    Names that are longer than a line even so lose their middle.
    """
    from rich.cells import cell_len

    names = apart([info.name for info in layers], min(width - 1, MOST), cell_len)
    rows = [_row(name, info, marks, *shorter[info.name]) for name, info in zip(names, layers, strict=True)]
    if table_width((_HEADS, *rows)) <= width:
        print_table(_HEADS, rows)
        return
    for row in rows:
        print(row[1])
        facts = zip(_HEADS, row, strict=True)
        words = (f"{head} {fact}" for head, fact in facts if fact and head != "layer")
        print(textwrap.fill(", ".join(words), max(width - 1, 20), **_INDENTED))


_INDENTED: Any = {"initial_indent": "  ", "subsequent_indent": "    ", "break_on_hyphens": False}


def _row(shown: str, info: LayerInfo, marks: dict[str, str], index: int, short: str) -> tuple[str, ...]:
    """A layer in the columns of the table; a name that cannot be shortened is not repeated."""
    return f"#{index}", shown, *_facts(info, marks), "" if short == info.name else readable(short, _LEAST)


def _facts(info: LayerInfo, marks: dict[str, str]) -> tuple[str, ...]:
    """What there is to say of a layer itself."""
    shape = "?" if info.shape is None else " x ".join(map(readable, info.shape))
    gradient = "yes" if info.differentiable else "no"
    return readable(info.op, _LEAST), shape, readable(info.dtype), gradient, marks.get(info.name, "")
