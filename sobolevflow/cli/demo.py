"""``sobolevflow demo``: a bundled network, visualized by every scheme."""

from __future__ import annotations

from ..named import as_name
from .options import Argument, Given, command, keywords
from .printing import JSON, OK, QUIET, print_json, tell
from .types import INTEGER, NEW_FOLDER, Kind

_RUN = (
    Argument("--network", "bundled network (default: builtin:shapes-vgg)", Kind("NAME")),
    Argument("--class", "class to visualize (default: spiral)", Kind("NAME", as_name), keyword="class_name"),
    Argument("--steps", "steps of each run", INTEGER),
    Argument("--seed", "seed of all random numbers (default: 0)", INTEGER),
)


@command(
    "demo",
    "visualize a bundled network: every scheme side by side, and one inversion",
    "sobolevflow demo -o out/",
    (
        Argument("-o/--output", "where to write (default: out)", NEW_FOLDER, default="out"),
        *(*_RUN, QUIET, JSON),
    ),
)
def demo(given: Given) -> int:
    """Write all pictures into a folder."""
    from ..experiments import run_demo

    found = run_demo(given["output"], progress="quiet" not in given, **keywords(given, _RUN))
    if "json" in given:
        print_json(found)
    else:
        tell(f"wrote {found['sheet']}")
    return OK
