"""Class names out of text and of structured data, one function a format; `labels` chooses among them.

Every function returns the names in the order of the classes, or None where the format is another. What
belongs to a name, as a synset or a second name, becomes a synonym of it: "tench, Tinca tinca, n01440764".
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from .. import checks
from ..errors import InputError

SYNSET = re.compile(r"(n\d{8})(?:\s*[,;:|=]\s*|\s+)(.*\S)")
"""A line of ImageNet's, "n01440764 tench, Tinca tinca"."""

_NUMBERED = re.compile(r"(?P<number>\d+)(?P<between>\s*[:,;|=)]\s*|\.\s+|\s+-\s+|\s+)(?P<name>.*\S)")
_NUMBER_LAST = re.compile(r"(?P<name>.*\S)(?P<between>\s*[,;:|=\t]\s*)(?P<number>\d+)")
_NUMBER_LAST_SPACED = re.compile(r"(?P<name>.*\S)(?P<between>\s+)(?P<number>\d+)")
_ITEM = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[{}]|\w+|\S')
_QUOTES = "\"'"

# What files call the index, the name and the synset of a class, in the first line of a table.
_INDEX = frozenset(
    ("", "#", "id", "index", "idx", "no", "number", "class_id", "class_index", "class_idx", "classid")
) | {"label_id", "label_index", "output", "target"}
_NAME = (
    *("name", "class_name", "classname", "label_name", "display_name", "displayname", "label", "labels"),
    *("class", "classes", "category", "names", "description", "text"),
)
_WORDNET = frozenset(("wnid", "synset", "synset_id", "wordnet_id", "mid"))

# Under which keys files and configurations keep names, those that say it best first.
KEYS = (
    *("id2label", "label_names", "thing_classes", "class_names", "names", "class_to_idx", "idx_to_class"),
    *("classes", "CLASSES", "labels", "categories", "label2id", "label_map", "stuff_classes"),
)
_INSIDE = ("pretrained_cfg", "metainfo", "model")  # where they may be one level down

_INDEX_TEXT = re.compile(r"\d{1,9}", re.ASCII)  # longer ones number no classes
_SPARSE = 100  # times as many indices as names there may be


class Unnamed(str):
    """The number of a class between others, for which the source has no name."""

    __slots__ = ()


# --- lines ------------------------------------------------------------------------------------------


def without_comments(lines: Sequence[str]) -> list[str]:
    """Lines without those that are comments: a "#" that stands alone, or has a space behind it."""
    kept = [line for line in lines if line != "#" and not line.startswith("# ")]
    return kept or list(lines)


def of_lines(lines: Sequence[str], ending: str) -> list[str]:
    """Names from lines: a table, numbered, behind synsets, or plain, one a line."""
    for read in (_table(ending), _numbered, _numbered_behind, _synsets):
        names = read(lines)
        if names is not None:
            return names
    return list(lines)


def _table(ending: str) -> Any:
    """A reader of tables with a header: those with a known one, whatever the file is called."""
    separators = "\t,;" if ending == ".tsv" else ",;\t"

    def read(lines: Sequence[str]) -> list[str] | None:
        first = lines[0].lower()
        separator = next((s for s in separators if s in first), None)
        if separator is None and ending not in (".csv", ".tsv"):
            return None
        head, *rows = _cells(lines, separator or ",")
        head = [cell.strip().lower().replace(" ", "_") for cell in head]
        name = next((head.index(key) for key in _NAME if key in head), None)
        synset = next((k for k, cell in enumerate(head) if cell in _WORDNET), None)
        index = next((k for k, cell in enumerate(head) if cell in _INDEX and k != name), None)
        if not rows or (name is None and (synset is None or len(head) < 2)):
            return _quoted(lines) if separator is None else None
        known = index is not None or synset is not None or ending in (".csv", ".tsv")
        if name is not None and not known:
            return None
        return _of_rows(head, [row for row in rows if row], name, index, synset)

    return read


def _of_rows(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    name: int | None,
    index: int | None,
    synset: int | None,
) -> list[str] | None:
    """Names from the columns of a table."""
    columns = [k for k in (name, synset) if k is not None]
    if any(len(row) <= max([*columns, index or 0]) for row in rows):
        return None
    width = min(len(head), *map(len, rows))
    if index is None:  # "class" may be the title of numbers
        titled = (k for k in range(width) if head[k] in _NAME)
        index = next((k for k in titled if _order([row[k] for row in rows]) is not None), None)
        if index is not None and index == name:
            others = [k for k in range(width) if k not in (index, synset)]
            columns = [*(others[:1] or [index]), *columns[1:]]
    names = [_joined(row[k].strip() for k in columns) for row in rows]
    if index is None:
        return names
    try:
        numbers = [int(row[index]) for row in rows]
    except ValueError:
        return None
    return in_order(zip(numbers, names, strict=True))


def _cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The cells of each line; one that opens a quote and does not close it takes no other line with it."""
    # a line longer than its fields may be is refused by csv, and is none of a table
    try:
        return [next(csv.reader([line], delimiter=separator, skipinitialspace=True), []) for line in lines]
    except csv.Error:
        return [[line] for line in lines]


def _quoted(lines: Sequence[str]) -> list[str] | None:
    """Lines of a table of one column, where quotes are all that is special."""
    if not any(line.startswith('"') for line in lines):
        return None
    rows = _cells(lines, ",")
    return [row[0] for row in rows] if all(len(row) == 1 for row in rows) else None


def _numbered(lines: Sequence[str]) -> list[str] | None:
    """Names behind numbers that count the lines, from 0 or from 1, in any order."""
    return _by_number([_NUMBERED.fullmatch(line) for line in lines])


def _numbered_behind(lines: Sequence[str]) -> list[str] | None:
    """Names in front of such numbers, or between a synset and a name, as in Caffe's map."""
    caffe = [SYNSET.fullmatch(line) for line in lines]
    if all(caffe):
        behind = _numbered([found[2] for found in caffe if found])
        if behind is None:
            return None
        # the same order once more, of the synsets
        synsets = _numbered([f"{_number_of(found[2])} {found[1]}" for found in caffe if found])
        return None if synsets is None else [_joined(pair) for pair in zip(behind, synsets, strict=True)]
    names = _by_number([_NUMBER_LAST.fullmatch(line) for line in lines])
    if names is None and len(lines) > 1:
        names = _by_number([_NUMBER_LAST_SPACED.fullmatch(line) for line in lines])
    return names


def _number_of(text: str) -> str:
    found = _NUMBERED.fullmatch(text)
    return found["number"] if found else ""


def _by_number(found: Sequence[re.Match[str] | None]) -> list[str] | None:
    """Names in the order of their numbers; None where these do not count, or all names were the same."""
    matches = [match for match in found if match]
    order = _order([match["number"] for match in matches]) if len(matches) == len(found) else None
    if order is None:
        return None
    names = [match["name"] for match in matches]
    if len(names) > 1 and 2 * len(set(names)) <= len(names):
        return None  # "1 euro", "2 euro": names of their own, not the same one twice
    if all(match["between"].strip() in (",", ";", "") for match in matches):
        names = [_unquoted(name) for name in names]
    return _synonymous([names[k] for k in order])


def uncounted(lines: Sequence[tuple[int, str]]) -> str | None:
    """What is odd about lines, each with its number in the file, that are numbered but for a gap or a repeat.

    They are names as they stand then, and None is returned for names that begin with any numbers.
    """
    found = [(k, match) for k, line in lines if (match := _NUMBERED.fullmatch(line))]
    numbers = [int(match["number"]) for _, match in found]
    if len(found) < len(lines) or len(found) < 2 or min(numbers) > 1:
        return None
    names = {match["name"] for _, match in found}
    steps = [after - before for before, after in pairwise(numbers)]
    marked = all(match["between"].strip() for _, match in found)
    if 2 * len(names) <= len(found) or not (marked or 2 * steps.count(1) >= len(steps)):
        return None
    in_turn = sorted(zip(numbers, (k for k, _ in found), strict=True))
    for (before, _), (number, k) in pairwise(in_turn):
        if number != before + 1:
            odd = "once more" if number == before else f"where {before + 1} would follow"
            return f"line {k} has the number {number} {odd}, so that numbers were taken for parts of names"
    return None


def _order(numbers: Sequence[str]) -> list[int] | None:
    """The order of numbers, of which there are some, that count from 0 or 1 without a gap."""
    if not all(map(_INDEX_TEXT.fullmatch, numbers)):
        return None
    found = [int(n) for n in numbers]
    first = min(found)
    counts = sorted(found) == list(range(first, first + len(found)))
    if not counts or first > 1 or (first == 1 and len(found) < 2):
        return None
    return sorted(range(len(found)), key=found.__getitem__)


def _unquoted(text: str) -> str:
    """Without the quotes around all of it, as tables write them."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def _synsets(lines: Sequence[str]) -> list[str] | None:
    """Names behind synsets, which become their last synonym."""
    return _synonymous(lines) if all(map(SYNSET.fullmatch, lines)) else None


def _synonymous(names: Sequence[str]) -> list[str]:
    """Names with a synset in front, where all have one, behind them."""
    found = [SYNSET.fullmatch(name) for name in names]
    return [_joined((match[2], match[1])) for match in found if match] if all(found) else list(names)


def _joined(names: Iterable[str]) -> str:
    """Names of one class as one label, each once."""
    return ", ".join(dict.fromkeys(name for name in names if name))


def of_items(text: str) -> list[str] | None:
    """Names from TensorFlow's label maps, ``item { id: 1 name: 'tench' }``."""
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    if not re.match(r"\s*item\s*:?\s*\{", text):
        return None
    tokens = _ITEM.findall(text)
    found: list[tuple[int, str]] = []
    current: dict[str, str] = {}
    depth, key = 0, ""
    for token in tokens:
        if token == "{":
            depth, current = depth + 1, {} if depth == 0 else current
        elif token == "}":
            depth -= 1
            if depth == 0 and "id" in current:
                found.append(
                    (_index_of(current["id"]), _joined(current.get(k, "") for k in ("display_name", "name")))
                )
        elif depth == 1 and token not in (":", ",", ";"):
            if key:
                current.setdefault(key, _unescaped(token))
            key = "" if key else token
    return in_order(found) if found else None


def _index_of(token: str) -> int:
    if not _is_index(token):
        raise InputError(f"class names: the id of an item is {checks.shown(token)}, no index of a class")
    return int(token)


def _unescaped(token: str) -> str:
    """A word, or what stands in quotes; bytes of UTF-8 may be written as octal numbers."""
    if token[0] not in _QUOTES:
        return token
    inside = re.sub(rb"\\([0-7]{1,3}|.)", _escape, token[1:-1].encode())
    return inside.decode("utf-8", "replace")


def _escape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1].isdigit() and code < b"8":
        return bytes([int(code, 8) % 256])
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(code, code)


# --- structured data --------------------------------------------------------------------------------


def of_data(data: Any, where: str) -> list[str]:
    """Names from lists and mappings, as JSON, YAML and Python hold them.

    Parameters
    ----------
    data : object
    where : str
        What it is, for messages.

    Raises
    ------
    InputError
        No names are found in it.
    """
    if isinstance(data, Mapping):
        return _of_mapping(data, where)
    if isinstance(data, (list, tuple)):
        return _of_list(data, where)
    raise InputError(f"{where}: expected a list of class names or a mapping, found {checks.shown(data)}")


def has_names(data: Any) -> bool:
    """Whether a configuration has class names under one of the usual keys."""
    if not isinstance(data, Mapping):
        return False
    return any(isinstance(data.get(key), (list, dict)) and data[key] for key in KEYS) or any(
        has_names(data.get(key)) for key in _INSIDE
    )


def _of_mapping(data: Mapping[Any, Any], where: str) -> list[str]:
    for key in KEYS:
        inside = data.get(key)
        if isinstance(inside, (Mapping, list, tuple)) and inside:
            names = of_data(inside, f"{where}: {key}")
            return _described(names, data.get("label_descriptions"))
    for key in _INSIDE:
        if has_names(data.get(key)):
            return of_data(data[key], where)
    keys, values = list(data), list(data.values())
    if keys and all(map(_is_index, keys)) and not all(isinstance(v, int) for v in values):
        return in_order((int(k), _name(v, f"{where}: {k}")) for k, v in data.items())
    if keys and all(map(_is_index, values)):
        return in_order((int(index), str(name)) for name, index in data.items())
    if keys and all(isinstance(key, str) and re.fullmatch(r"n\d{8}", key) for key in keys):
        return [_joined((_name(value, f"{where}: {key}"), key)) for key, value in data.items()]
    shown = ", ".join(map(checks.shown, keys[:8])) + (", ..." if len(keys) > 8 else "")
    raise InputError(
        f"{where}: no class names in it; expected {{0: name}}, {{name: 0}}, or one of the keys "
        f"{', '.join(KEYS)}; its keys are {shown or 'none'}"
    )


def _of_list(data: Sequence[Any], where: str) -> list[str]:
    pairs = [_pair(entry) for entry in data]
    known = [pair for pair in pairs if pair]
    counts = _order([str(index) for index, _ in known]) is not None if known else False
    if known and len(known) == len(pairs) and (counts or not any(isinstance(e[0], str) for e in data)):
        return in_order((index, _name(name, f"{where}: entry {k}")) for k, (index, name) in enumerate(known))
    if data and all(isinstance(entry, Mapping) and _is_pair(entry) for entry in data):
        return _of_mapping({key: value for entry in data for key, value in entry.items()}, where)
    if data and all(isinstance(entry, Mapping) and _index_in(entry) is not None for entry in data):
        return in_order((_index_in(e) or 0, _name(e, f"{where}: entry {k}")) for k, e in enumerate(data))
    return _synonymous([_name(entry, f"{where}: entry {k}") for k, entry in enumerate(data)])


def _described(names: list[str], descriptions: Any) -> list[str]:
    """Names with what a mapping says of them in front, as timm has it for synsets."""
    if not isinstance(descriptions, Mapping):
        return names
    return [_joined((str(descriptions.get(name, "")), name)) for name in names]


def _name(entry: Any, where: str) -> str:
    """The label of a class from its entry: text, a number, or several names of it."""
    if isinstance(entry, bytes):
        return entry.decode("utf-8", "replace")
    if isinstance(entry, (str, int, float)):
        return str(entry).strip()
    if isinstance(entry, Mapping):
        found = [str(entry[k]) for k in (*_NAME, *sorted(_WORDNET)) if isinstance(entry.get(k), str)]
        if found:
            return _joined([found[0], *(f for f in found[1:] if re.fullmatch(r"n\d{8}", f))])
    if isinstance(entry, (list, tuple)) and entry and all(isinstance(e, str) for e in entry):
        # ImageNet's index has the synset first
        return _joined([*(e for e in entry if not re.fullmatch(r"n\d{8}", e)), *entry])
    if checks.is_integer(entry):  # of NumPy
        return str(entry)
    raise InputError(f"{where} is {checks.shown(entry)}, not the name of a class")


def _pair(entry: Any) -> tuple[int, Any] | None:
    """The index and the name of a class, where its entry is these two."""
    if not isinstance(entry, (list, tuple)) or len(entry) != 2 or not isinstance(entry[1], (str, bytes)):
        return None
    return (int(entry[0]), entry[1]) if _is_index(entry[0]) else None


def _is_pair(entry: Mapping[Any, Any]) -> bool:
    """Whether a mapping is one of an index and a name, {0: name} or {name: 0}."""
    return len(entry) == 1 and any(map(_is_index, [*entry.keys(), *entry.values()]))


def _index_in(entry: Mapping[str, Any]) -> int | None:
    """The index that the entry of a class states."""
    value = next((entry[k] for k in ("id", "index", "class_id", "class_index") if k in entry), None)
    return int(value) if value is not None and _is_index(value) else None


def _is_index(value: Any) -> bool:
    if isinstance(value, str):
        return _INDEX_TEXT.fullmatch(value) is not None
    return checks.is_integer(value) and value >= 0


def in_order(pairs: Iterable[tuple[int, str]]) -> list[str]:
    """Names by their indices, from 0 or from 1; an index without one is called by its number, `Unnamed`.

    Several names of an index are synonyms.

    Raises
    ------
    InputError
        The indices are no indices of classes: one is negative, or too few of those up to the largest have
        a name.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for index, name in pairs:
        found[index].append(name)
    first, last = min(min(found), 1), max(found)
    if first < 0:
        raise InputError(f"class names: one is numbered {first}; the indices of classes begin at 0")
    if last > _SPARSE * len(found) + _SPARSE:
        raise InputError(f"class names: {len(found)} of them are numbered up to {last}; these are no indices")
    return [_joined(found[k]) if k in found else Unnamed(k) for k in range(first, last + 1)]
