"""Table 1: whether reconstructions from one network's features are recognised by another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..network import Network
from ..pictures import Pixels, contact_sheet
from ..results import as_pictures
from .cells import Store
from .descents import Pictures, Runner
from .experiment import Plan, Rows, Sheet, experiment
from .folder import Row
from .judging import classes_of, likeness, recognised
from .photographs import Photographs
from .recipes import METHODS, Recipe, default_inversion
from .work import Subject, Work, need_photographs

STEPS = 300  # the paper's
ORIGINALS = "originals"  # the row of the photographs themselves
SHOWN, CELL = 6, 112  # photographs on a sheet, and their size there


@dataclass(frozen=True)
class Trial:
    """One entry of the table before it is filled in."""

    source: Network
    layer: str
    judge: Network
    method: str

    def row(self) -> Row:
        """The columns that say which entry it is."""
        return {
            "network": self.source.name,
            "layer": self.layer,
            "judge": self.judge.name,
            "method": self.method,
        }


def trials(subjects: Sequence[Subject], methods: Mapping[str, Sequence[Recipe]] = METHODS) -> list[Trial]:
    """Every layer of every network, judged by every other network, with every method."""
    if len(subjects) < 2:
        raise InputError("Reconstructions are judged by another network; give at least two networks.")
    depth = max(len(subject.layers) for subject in subjects)
    return [
        Trial(source.net, source.layers[k], judge.net, method)
        for k in range(depth)
        for source in subjects
        for judge in subjects
        if judge is not source and k < len(source.layers)
        for method in methods
    ]


def tune(
    runner: Runner, trial: Trial, candidates: Sequence[Recipe], photographs: Photographs
) -> tuple[Recipe, list[Row]]:
    """The candidate whose reconstructions the judge gives the highest mean probability, and all of them.

    Returns
    -------
    Recipe
    list of dict
        A row for each candidate; ``chosen`` says which.
    """
    if len(candidates) == 1:
        return candidates[0], []
    tried = [runner.invert(trial.source, trial.layer, photographs, recipe) for recipe in candidates]
    rows = [
        measured(runner.store, trial, recipe, pictures, photographs)
        for recipe, pictures in zip(candidates, tried, strict=True)
    ]
    best = int(np.argmax([row["probability"] for row in rows]))
    return candidates[best], [{**row, "chosen": k == best} for k, row in enumerate(rows)]


def measured(store: Store, trial: Trial, recipe: Recipe, pictures: Pictures, photographs: Photographs) -> Row:
    """One entry of the table, filled in."""
    return {
        **trial.row(),
        "recipe": str(recipe),
        "evaluations": recipe.steps,
        "photographs": len(photographs),
        **recognised(store, trial.judge, pictures.u, classes_of(trial.judge, photographs)),
        **likeness(store, trial.source, pictures, photographs),
    }


def ceiling(store: Store, trial: Trial, photographs: Photographs) -> Row:
    """What the judge makes of the photographs themselves, as the inverted network sees them."""
    u = photographs.seen_by(trial.source)
    return {
        **trial.row(),
        "method": ORIGINALS,
        "recipe": "",
        "photographs": len(photographs),
        **recognised(store, trial.judge, u, classes_of(trial.judge, photographs)),
    }


@experiment("table1")
def run(
    subjects: Sequence[Subject],
    photographs: Photographs,
    work: Work,
    *,
    count: int = 40,
    tuned_on: int = 16,
    methods: Mapping[str, Sequence[Recipe]] = METHODS,
) -> Plan:
    """Fill in the table, one entry after the other; what has been done before is found again.

    Parameters
    ----------
    subjects : sequence of Subject
        At least two, each with at least one layer.
    photographs : Photographs
        One half is for tuning, the other for reporting.
    work : Work
        The folder gets ``table1.csv``, ``tuning.csv``, a sheet of reconstructions for each layer, and
        ``manifest.json``. The tables are rewritten after every entry. All methods take the same number of
        gradient evaluations.
    count : int
        Photographs to report on, from the one half.
    tuned_on : int
        Photographs to tune on, from the other; 0 takes the first candidate of every method. A method is tuned
        once for each pair of networks, on the first of the layers, and inverts the others alike.
    methods : mapping
        From the name of a method to its candidates; without any it is the default of `invert`.

    Raises
    ------
    InputError
        Fewer than two networks, or too few photographs.
    """
    tuning_half, report_half = photographs.halves()
    for_tuning, for_report = tuning_half[:tuned_on], report_half[:count]
    need_photographs(count, len(for_report), "report on, half of all")
    need_photographs(tuned_on, len(for_tuning), "tune on, half of all")
    steps = STEPS if work.steps is None else work.steps
    limit = None if tuned_on else 1
    candidates = {name: [r.in_steps(steps) for r in m[:limit]] for name, m in methods.items()}
    table = trials(subjects, candidates)
    names = {
        "report": [path.name for path in for_report.paths],
        "tuning": [path.name for path in for_tuning.paths],
    }
    as_dicts = {name: [recipe.to_dict() for recipe in each] for name, each in candidates.items()}
    first = next(iter(candidates))

    def results(runner: Runner) -> Iterator[Rows | Sheet]:
        shown: dict[str, Pixels] = {}
        tuned: dict[tuple[str, str, str], Recipe] = {}
        for trial in table:
            tried: list[Row] = []
            rows: list[Row] = []
            pair = (trial.source.name, trial.judge.name, trial.method)
            if pair not in tuned:
                own = candidates[trial.method] or [default_inversion(trial.source).in_steps(steps)]
                tuned[pair], tried = tune(runner, trial, own, for_tuning)
            if trial.method == first:
                rows.append(ceiling(runner.store, trial, for_report))
                shown = {_label(rows[0]): as_pictures(for_report[:SHOWN].seen_by(trial.source))}
            pictures = runner.invert(trial.source, trial.layer, for_report, tuned[pair])
            rows.append(measured(runner.store, trial, tuned[pair], pictures, for_report))
            shown[_label(rows[-1])] = pictures.pixels[:SHOWN]
            yield Rows(tried, "tuning")
            yield Rows(rows)
            yield Sheet(_sheet_name(trial), _sheet(trial, shown))

    return Plan(
        facts={**names, "methods": as_dicts},
        images=count,
        sets=_sets(table, candidates, count, tuned_on),
        results=results,
    )


def _label(row: Row) -> str:
    """Of a row of pictures: the method, and the share that is recognised."""
    return f"{row['method']}  {row['top1']:.2f}"


def _sheet_name(trial: Trial) -> str:
    return f"{trial.source.name}-{trial.layer}-{trial.judge.name}"


def _sheet(trial: Trial, shown: Mapping[str, Pixels]) -> Pixels:
    """The first photographs, and below them what each method made of them."""
    return contact_sheet(
        [list(pictures) for pictures in shown.values()],
        row_labels=list(shown),
        title=f"{trial.source.name}, {trial.layer}",
        caption=f"inverted; the share whose class {trial.judge.name} finds",
        cell=CELL,
    )


def _sets(
    table: Sequence[Trial], candidates: Mapping[str, Sequence[Recipe]], count: int, tuned_on: int
) -> int:
    """About how many times `count` descents the whole table takes, for the progress bar."""
    pairs = {(t.source.name, t.judge.name, t.method) for t in table}
    tunings = sum(len(candidates[method]) for *_, method in pairs if len(candidates[method]) > 1)
    return len(table) + round(tunings * tuned_on / count)
