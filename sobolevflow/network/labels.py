"""Class names: read them, find one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, ItemsView, Iterable, Mapping, MappingView, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..errors import InputError, InputFileError, UnknownNameError, did_you_mean, warn
from .label_formats import (
    KEYS,
    SYNSET,
    Unnamed,
    has_names,
    of_data,
    of_items,
    of_lines,
    uncounted,
    without_comments,
)
from .text_files import TextFile, find_beside, parsed_yaml

LabelSource = Iterable[str] | Mapping[Any, Any] | str | os.PathLike[str]
"""What may be given as class names: `sobolevflow.load` says how."""

USUAL_FILES = (
    *("labels.txt", "labels.json", "classes.txt", "classes.json", "class_names.txt", "class_names.json"),
    *("id2label.json", "class_to_idx.json", "class_index.json", "imagenet_class_index.json"),
    *("imagenet_classes.txt", "synset.txt", "synset_words.txt", "labels.csv", "classes.csv", "coco.names"),
    *("obj.names", "classes.names", "labelmap.txt", "labelmap.pbtxt", "label_map.pbtxt", "data.yaml"),
    *("metadata.yaml", "metadata.json", "config.json"),
)
"""What files of class names are called, in the order in which a folder is searched for them."""

_WANTED = "a sequence of names, a mapping {0: name} or {name: 0}, or a file of them"
_MOST_LISTED = 20  # class names that an error message may spell out
_HEADED = re.compile(rf"(?m)^(?:{'|'.join(KEYS)})\s*:(?:\s|$)")  # a mapping of YAML, whatever it is called


@dataclass(frozen=True)
class Labels:
    """Class names in the order of the classes, and what was assumed in reading them.

    Classes between others for which there is no name are `Unnamed`.
    """

    names: list[str]
    notes: list[str] = field(default_factory=list)

    def for_classes(self, fit: Callable[[list[str]], bool]) -> Labels:
        """The names for outputs of which `fit` says whether they may have these names.

        Where the numbers of the names have gaps, outputs may be numbered so, or one after the other.
        """
        dense = [name for name in self.names if not isinstance(name, Unnamed)]
        if len(dense) == len(self.names):
            return self
        fitting = [names for names in (dense, [str(name) for name in self.names]) if fit(names)]
        if not fitting:
            return self
        # first what fits without a background class: then one more would be too many
        chosen = next((names for names in fitting if not fit([*names, ""])), fitting[0])
        how = "one after the other" if chosen is dense else "by their numbers; those between have no name"
        note = f"the numbers of the {len(dense)} class names have gaps: they were given to outputs {how}"
        return Labels(chosen, [*self.notes, note])


def read_labels(labels: LabelSource) -> Labels:
    """Class names from a sequence or a mapping, a file, or a folder that has one.

    An AssumptionWarning says where a file is not in UTF-8 and bears no byte order mark.

    Raises
    ------
    InputError
        The file cannot be read, is not text, is empty, or holds no class names.
    """
    if isinstance(labels, (str, os.PathLike)):
        return _of_path(Path(labels) if isinstance(labels, str) else checks.path(labels, "labels"))
    given = _plain(labels)
    if isinstance(given, (Mapping, ItemsView)):
        return Labels(of_data(dict(given), "labels"))
    if isinstance(given, Set) and not isinstance(given, MappingView):
        raise InputError(f"labels are a {type(given).__name__}, which has no order; give a list of them")
    return Labels(_given(checks.entries(given, "labels", _WANTED)))


def of_texts(labels: Any) -> list[str]:
    """Class names that are given in a sequence; InputError of everything else."""
    found = checks.entries(labels, "labels", "a sequence of names")
    for k, name in enumerate(found):
        checks.text(name, f"label {k}")
    return found


def _plain(labels: Any) -> Any:
    """Arrays as lists; the column of a table as a mapping where its index numbers the names, or is them."""
    if not hasattr(labels, "tolist"):
        return labels
    if isinstance(labels, np.ndarray) and labels.ndim != 1:
        checks.refuse(labels, "labels", _WANTED)
    by_index = labels.to_dict() if hasattr(labels, "to_dict") else {}
    numbered = by_index and any(all(map(checks.is_integer, each)) for each in (by_index, by_index.values()))
    return by_index if numbered and len(by_index) == len(labels) else labels.tolist()


def _given(names: Sequence[Any]) -> list[str]:
    """Names of a sequence as they are, and those of entries that are none themselves."""
    if all(isinstance(name, str) for name in names):
        return [str(name) for name in names]
    return of_data(list(names), "labels")


def _of_path(path: Path) -> Labels:
    if os.path.isdir(path):  # which a text too long for a name of a file is not
        return _of_folder(path)
    found = _of_file(path)
    for note in found.notes:
        warn(note)
    return found


def _of_file(path: Path) -> Labels:
    file = TextFile.read(path, "labels file")
    if not file.text.strip():
        raise InputFileError(f"{file.name}: is empty")
    try:
        names, notes = _of_text(file)
    except InputError as error:
        about = "" if error.full.startswith(file.name) else f"{file.name}: "
        raise InputFileError(f"{about}{error.full}") from None
    return Labels(names, [*file.notes, *notes])


def _of_folder(folder: Path) -> Labels:
    """Names from the first of the usual files in a folder that has some."""
    for path in _with_names(folder):
        found = _of_path(path)
        return Labels(found.names, [f"class names are those of {path}", *found.notes])
    raise InputError(
        f"labels folder {folder}: has no file of class names; they are called {', '.join(USUAL_FILES[:12])} "
        "or alike, any other is given by its path"
    )


def _with_names(folder: Path) -> list[Path]:
    """The usual files of a folder, configurations only where they have names."""
    return [path for path in find_beside(folder, USUAL_FILES) if _may_have_names(path)]


def _may_have_names(path: Path) -> bool:
    if path.name not in ("config.json", "metadata.json", "metadata.yaml", "data.yaml"):
        return True
    try:
        return has_names(TextFile.read(path, "labels file").data())
    except InputError:
        return False


def labels_beside(folder: Path, fit: Callable[[list[str]], bool]) -> Path | None:
    """The first of the usual files in a folder whose class names fit, if there is one."""
    for path in _with_names(folder):
        try:
            if fit(_of_file(path).for_classes(fit).names):
                return path
        except InputError:
            continue
    return None


def recorded_names(text: str) -> list[str] | None:
    """Names from what another exporter wrote into a file's metadata, None where it is something else."""
    try:
        data = TextFile("metadata", Path(), text).data()
        return None if data is None else of_data(data, "metadata")
    except InputError:
        return None


def _of_text(file: TextFile) -> tuple[list[str], list[str]]:
    """Names from a file, by the first format that it is in, and what was assumed."""
    data = file.data()
    if data is None and _is_yaml(file.text):
        data = parsed_yaml(file.text, file.name)
    if data is not None:
        names = of_data(data, file.name)
        if not names:
            raise InputFileError(f"{file.name}: is empty")
        return names, []
    items = of_items(file.text)
    if items is not None:
        return items, []
    lines = [line.strip() for line in file.text.split("\n")]
    while not lines[-1]:
        lines.pop()
    plain = without_comments(lines)
    names = of_lines(plain, file.ending)
    if names != plain:
        return names, []
    left = set(plain)
    said = uncounted([(k, line) for k, line in enumerate(lines, 1) if line in left])
    return names, [] if said is None else [f"{file.name}: {said}"]


def _is_yaml(text: str) -> bool:
    """Whether text is a mapping with a key that only configurations have, or a list of dashes."""
    lines = [line for line in text.split("\n") if line.strip()]
    return bool(_HEADED.search(text)) or all(line.startswith("- ") for line in lines)


def find_label(name: str, labels: Sequence[str]) -> int:
    """Position of the label that is `name`, or has it among its comma-separated synonyms, in any case.

    A synset in front of a label, "n01440764 tench", is one of them, and "_" is a space.

    Raises
    ------
    UnknownNameError
        No label matches, or more than one does.
    """
    wanted = _folded(name)
    matches = [k for k, label in enumerate(labels) if wanted in _names(label)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        found = ", ".join(f"{k} ({labels[k]})" for k in matches[:_MOST_LISTED])
        found += ", ..." if len(matches) > _MOST_LISTED else ""
        raise UnknownNameError(f"class {name!r} is ambiguous: {found}; give the index")
    synonyms = [part for label in labels for part in _synonyms(label)]
    raise UnknownNameError(f"no class {name!r}.{did_you_mean(name, synonyms) or _listing(labels)}")


def _listing(labels: Sequence[str]) -> str:
    if len(labels) <= _MOST_LISTED:
        return f" There are: {', '.join(labels)}"
    return f" The {len(labels)} names are in net.labels, or in 'sobolevflow inspect --json'"


def _synonyms(label: str) -> list[str]:
    behind = SYNSET.fullmatch(label.strip())
    parts = [behind[1], *behind[2].split(",")] if behind else label.split(",")
    return [part.strip() for part in parts]


def _names(label: str) -> set[str]:
    return {_folded(part) for part in (label, *_synonyms(label))}


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
