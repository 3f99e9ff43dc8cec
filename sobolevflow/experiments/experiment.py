"""What an experiment is: a plan of rows and sheets, and the one runner that carries it out.

An experiment is a function from networks, subject and `Work` to a `Plan`; `experiment` makes of it the
function that is called, which writes manifest, tables and sheets as results come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from .. import checks
from ..files import keeping
from ..pictures import Pixels
from .descents import Runner
from .folder import Row
from .photographs import Photographs
from .work import Subject, Work, facts

Of = TypeVar("Of")
P = ParamSpec("P")


@dataclass(frozen=True)
class Rows:
    """Rows that have been found, and the table that they belong to; the experiment's own unless given."""

    rows: Sequence[Row]
    table: str | None = None


@dataclass(frozen=True)
class Sheet:
    """A picture that has been made."""

    name: str
    pixels: Pixels


@dataclass(frozen=True)
class Plan:
    """What an experiment is going to do.

    Parameters
    ----------
    facts : mapping
        What the manifest says beside networks, seed and batch.
    images, sets : int
        There are about so many sets of so many images to descend to, for the progress bar.
    results : callable
        From a `Runner` to rows and sheets, one after the other. A table is rewritten whenever rows of it come
        in, so that what is in the folder is whole at any time.
    """

    facts: Mapping[str, Any]
    images: int
    sets: int
    results: Callable[[Runner], Iterator[Rows | Sheet]]


Planned = Callable[Concatenate[Sequence[Subject], Of, Work, P], Plan]
Run = Callable[Concatenate[Sequence[Subject], Of, Work, P], list[Row]]


def experiment(name: str) -> Callable[[Planned[Of, P]], Run[Of, P]]:
    """Decorator: the function that carries out what the decorated one plans, and returns the table's rows."""

    def carried_out(plan: Planned[Of, P]) -> Run[Of, P]:
        @wraps(plan)
        def run(
            subjects: Sequence[Subject], of: Of, work: Work, /, *args: P.args, **kwargs: P.kwargs
        ) -> list[Row]:
            listed = checks.entries(subjects, "subjects", "a list of Subject")
            if not all(isinstance(each, Subject) for each in listed):
                checks.refuse(subjects, "subjects", "a list of Subject")
            if not isinstance(work, Work):
                checks.refuse(work, "work", "a Work")
            photographs = of.paths if isinstance(of, Photographs) else ()
            work.folder.check_apart_from(photographs)
            read = (*photographs, *(path for each in listed for path in each.net.files))
            with keeping(read):
                return _carry_out(name, plan(listed, of, work, *args, **kwargs), listed, work)

        return run

    return carried_out


def _carry_out(name: str, plan: Plan, subjects: Sequence[Subject], work: Work) -> list[Row]:
    work.folder.manifest(name, facts(subjects, work, **plan.facts))
    tables: dict[str, list[Row]] = {name: []}
    with work.runner(name, plan.images, plan.sets) as runner:
        for each in plan.results(runner):
            if isinstance(each, Sheet):
                work.folder.picture(each.name, each.pixels)
                continue
            rows = tables.setdefault(each.table or name, [])
            rows += each.rows
            work.folder.table(each.table or name, rows)
    return tables[name]
