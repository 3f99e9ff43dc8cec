"""Writers of class names in the formats that people have them in, and the names that each can hold."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import yaml
from hypothesis import strategies as st

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
_MARKS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}

# Text of one line; lone surrogates are no text. YAML cannot hold what is not printable.
_IN_STRINGS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn", "Co")),
    min_size=1,
    max_size=12,
)


def strings() -> st.SearchStrategy[str]:
    """Names with commas, colons, quotes and letters of any script, as strings in quotes hold them."""
    return st.one_of(_IN_STRINGS, st.text("ab,:'\"# -", min_size=1, max_size=8)).map(str.strip).filter(bool)


def words() -> st.SearchStrategy[str]:
    """Names that a bare line holds: they begin with a letter and end in none of what separates."""
    return strings().map(lambda name: f"é{name}z")


def encoded(text: str, encoding: str) -> bytes:
    """Text with a byte order mark, but for plain UTF-8."""
    return _MARKS.get(encoding, b"") + text.encode(encoding)


@dataclass(frozen=True)
class Format:
    """How names are written, the ending of such a file, and which names it can hold."""

    write: Callable[[Sequence[str]], str]
    ending: str
    names: Callable[[], st.SearchStrategy[str]] = strings


def _csv(head: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC).writerows(
        [head, *rows] if head else rows
    )
    return text.getvalue()


def _items(names: Sequence[str]) -> str:
    quoted = [name.replace("\\", "\\\\").replace("'", "\\'") for name in names]
    return "".join(f"item {{\n  id: {k}\n  name: '{name}'\n}}\n" for k, name in enumerate(quoted, 1))


FORMATS: dict[str, Format] = {
    "plain": Format(lambda names: "\n".join(names), ".txt", words),
    "Windows": Format(lambda names: "\r\n".join(names) + "\r\n\r\n", ".txt", words),
    "numbered": Format(lambda names: "".join(f"{k} {n}\n" for k, n in enumerate(names)), ".txt", words),
    "colons": Format(lambda names: "".join(f"{k}: {n}\n" for k, n in enumerate(names)), ".txt", words),
    "JSON list": Format(lambda names: json.dumps(list(names)), ".json"),
    "Python list": Format(lambda names: repr(list(names)), ".txt"),
    "JSON indices": Format(lambda names: json.dumps(dict(enumerate(names)), ensure_ascii=False), ".json"),
    "Python indices": Format(lambda names: repr(dict(enumerate(names))), ".txt"),
    "id2label": Format(lambda names: json.dumps({"id2label": dict(enumerate(names))}), ".json"),
    "class_to_idx": Format(lambda names: json.dumps({n: k for k, n in enumerate(names)}), ".json"),
    "YAML list": Format(lambda names: yaml.safe_dump({"nc": 1, "names": list(names)}), ".yaml"),
    "YAML indices": Format(lambda names: yaml.safe_dump({"names": dict(enumerate(names))}), ".yml"),
    "detectron": Format(lambda names: yaml.safe_dump({"thing_classes": list(names)}), ".yaml"),
    "CSV": Format(lambda names: _csv((), list(enumerate(names))), ".csv", words),
    "CSV with a header": Format(lambda names: _csv(("index", "label"), list(enumerate(names))[::-1]), ".csv"),
    "TSV with a header": Format(
        lambda names: _csv(("name", "id"), [(n, k) for k, n in enumerate(names)], "\t"), ".tsv"
    ),
    "label map": Format(_items, ".pbtxt"),
}
