"""``sobolevflow experiment``: the paper's figures and table, and what lies beyond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..named import as_name, index_or_name
from .given import OF_STRANGERS, of_strangers
from .options import Argument, Given, Group, Table, check_belongs, command, keywords
from .printing import JSON, OK, QUIET, print_json, print_rows, tell
from .types import COUNT, FILE, INTEGER, NATURAL, NEW_FOLDER, Kind

_LAYERS = Argument(
    "--layers",
    "layers to invert, with commas between; also patterns, and the paper's names",
    Kind("L1,L2", as_name),
    words="+",
)
_NETWORKS = (
    Argument("--preprocess", "as for visualize", Kind("NAME|FILE"), words="+"),
    Argument("--labels", "class names, as for visualize", FILE, words="+"),
    _LAYERS,
)

# What the experiments differ in: each says which it needs, and which it takes.
_SUBJECT = (
    Argument(
        "--class",
        "class; repeat for several",
        Kind("NAME|INDEX", index_or_name),
        repeat=True,
        keyword="target",
    ),
    Argument("--photos", "photographs; a leading number in a name is its class", Kind("FOLDER")),
    Argument("--count", "photographs to report on", COUNT),
    Argument("--tune", "table1: other photographs to tune each method on (default: 16)", NATURAL),
)
_RECIPE = Argument("--recipe", "settings of the paper, by the name that --list gives", Kind("NAME"))

_WORK = (
    Argument("--steps", "instead of the recipe's", COUNT),
    Argument("--batch", "images at once (default: 8)", COUNT),
    Argument("--seed", "seed of all random numbers (default: 0)", INTEGER),
    Argument("--device", "cpu or cuda (default: cpu)", Kind("NAME")),
)


def _table() -> Table:
    from ..experiments import EXPERIMENTS

    abouts = "; ".join(f"{name}: {each.about}" for name, each in EXPERIMENTS.items())
    return (
        Argument("name", abouts, Kind("name", choices=tuple(EXPERIMENTS)), words="?", default=None),
        Argument("models", "ONNX files; each is judged by the others", Kind("MODEL"), words="*", default=[]),
        Argument("--list", "list the recipes with the paper's settings", flag=True),
        Group("networks", _NETWORKS, "one value for all, or one for each"),
        Group("all networks", OF_STRANGERS),
        Group("subject", _SUBJECT),
        Group("descent", (_RECIPE, *_WORK)),
        Argument("-o/--output", "where to write, and to go on from", NEW_FOLDER),
        *(QUIET, JSON),
    )


@command(
    "experiment",
    "repeat the paper's figures and table, and what lies beyond, on your networks",
    "sobolevflow experiment table1 squeezenet.onnx mobilenet.onnx --preprocess torch tf "
    "--labels classes.txt --layers fire6,fire7 block5,block8 --photos photos/ -o out/table1",
    _table,
    "What was computed before is found again in the output folder: stop an experiment and go on as you like.",
)
def experiment(given: Given) -> int:
    """Print the table of an experiment; all files are in its folder."""
    from ..experiments import EXPERIMENTS, Folder, Work

    if "list" in given:
        return _list_recipes(given)
    _check(given)
    chosen = EXPERIMENTS[given["name"]]
    subjects = _subjects(given)
    subject, more = chosen.asked(**keywords(given, (*_SUBJECT, _RECIPE)))
    work = Work(Folder(given["output"]), progress="quiet" not in given, **keywords(given, _WORK))
    rows = chosen.run(subjects, subject, work, **more)
    if "json" in given:
        print_json({"folder": given["output"], "computed": work.folder.store.computed, "rows": rows})
    else:
        print_rows([_without_details(row) for row in rows])
        tell(f"wrote {given['output']}")
    return OK


def _list_recipes(given: Given) -> int:
    from ..experiments import PUBLISHED

    if "json" in given:
        print_json({name: each.recipe.to_dict() for name, each in PUBLISHED.items()}, indent=1)
    else:
        print_rows([each.summary() for each in PUBLISHED.values()])
    return OK


def _check(given: Given) -> None:
    """Complain about what is missing, and about options that the experiment has not."""
    from ..experiments import EXPERIMENTS

    name, every = given["name"], EXPERIMENTS.values()
    if name is None:
        raise InputError(f"name an experiment ({', '.join(EXPERIMENTS)}), or ask for --list")
    differing = [
        replace(
            option, belongs_to=tuple(e.name for e in every if option.forwarded_as in (*e.needs, *e.takes))
        )
        for option in (_LAYERS, *_SUBJECT, _RECIPE)
    ]
    check_belongs(given, differing, "experiment ", name)
    missing = [o.long for o in differing if o.forwarded_as in EXPERIMENTS[name].needs and o.key not in given]
    missing += [] if given["models"] else ["at least one MODEL"]
    missing += [] if "output" in given else ["-o FOLDER"]
    if missing:
        raise InputError(f"experiment {name} needs {missing[0]}")


def _subjects(given: Given) -> list[Any]:
    """The networks of an experiment with their layers."""
    from ..experiments import Subject
    from ..network import load

    models = given["models"]
    each = {option.key: _one_each(given, option, len(models)) for option in _NETWORKS}
    subjects: list[Subject] = []
    for k, model in enumerate(models):
        preprocess, labels = (each[name][k] if each[name] else None for name in ("preprocess", "labels"))
        net = load(model, preprocess=preprocess, labels=labels, **of_strangers(given))
        layers = each["layers"][k].split(",") if each["layers"] else []
        if net.name in (subject.net.name for subject in subjects):
            raise InputError(f"two networks are called {net.name!r}; rename one of the files")
        subjects.append(Subject(net, tuple(layers)))
    return subjects


def _one_each(given: Given, option: Argument, count: int) -> list[str]:
    """The values of an option, one for each network; none where it was not given."""
    values: list[str] = given.get(option.key, [])
    if len(values) not in (0, 1, count):
        raise InputError(
            f"{option.long} has {len(values)} values for {count} networks; give one, or one for each"
        )
    return values * count if len(values) == 1 else values


def _without_details(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table without the bounds of its intervals, which the file has."""
    return {key: value for key, value in row.items() if not key.endswith(("_low", "_high"))}
