"""The experiments by name, and what the command line needs to know of each; imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .work import Subject, Work

# How `run` calls what the command line calls otherwise.
_KEYWORDS = {"tune": "tuned_on", "recipe": "settings"}


@dataclass(frozen=True)
class Experiment:
    """An entry: the experiment is `run` in the module of its name.

    Parameters
    ----------
    name : str
        On the command line, and that of the module and of the main table.
    about : str
        In a few words.
    needs : tuple of str
        Options that must be given: "target", a list of classes, or "layers" and "photos", a folder.
    takes : tuple of str
        Options that may be: "count", "tune", numbers of photographs; "recipe", a name of `PUBLISHED`.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()

    def asked(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        """The subject and the keyword arguments of `run`, from options of the command line.

        Reads names and folders, computes nothing. "layers" belong to the networks and are not given here.

        Raises
        ------
        InputError, UnknownNameError
            There is no such recipe or folder, or no photograph in it.
        """
        more = {_KEYWORDS.get(name, name): given[name] for name in self.takes if name in given}
        if "settings" in more:
            more["settings"] = self._settings(more["settings"])
        if "photos" not in self.needs:
            return given["target"], more
        from .photographs import find_photographs

        return find_photographs(given["photos"]), more

    def run(self, subjects: Sequence[Subject], of: Any, work: Work, **more: Any) -> list[dict[str, Any]]:
        """Carry it out; returns the rows of its table."""
        module = importlib.import_module(f".{self.name}", __package__)
        rows: list[dict[str, Any]] = module.run(subjects, of, work, **more)
        return rows

    def _settings(self, recipe: str) -> Any:
        """Those of a published recipe; for figure2 both of its forms."""
        from .published import forms, published

        return forms(recipe) if self.name == "figure2" else published(recipe)


EXPERIMENTS = {
    each.name: each
    for each in (
        Experiment("figure1", "schemes x filters", ("target",), ("recipe",)),
        Experiment("figure2", "schemes x networks, with octaves and without", ("target",), ("recipe",)),
        Experiment(
            "figure4", "inversions, layers x schemes x photos", ("layers", "photos"), ("count", "recipe")
        ),
        Experiment(
            "table1", "reconstructions judged by another network", ("layers", "photos"), ("count", "tune")
        ),
        Experiment("matched", "Gaussian against Sobolev at equal strength", ("target",)),
        Experiment("sweep", "gamma x tau", ("layers", "photos"), ("count",)),
    )
}
