"""Text as people have it: whatever its encoding, and whatever it is written in, read once for all uses."""

from __future__ import annotations

import ast
import codecs
import contextlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputFileError
from ..files import opened

_MARKS = (  # the longer ones first: that of UTF-16 is the beginning of one of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LARGEST = 2**26  # bytes: more than any file of names or pre-processing has
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_YAML = (".yaml", ".yml")
_LONGEST_LITERAL = 2**22  # characters: Python's parser needs hundreds of bytes for each
_NESTED = "nested too deeply"
_DEEPEST = 100  # levels of lists and mappings; what is read here has a few
_EXPANSION = 10  # times as many values as are written that the aliases of YAML may stand for
_JSON_LINES = (".jsonl", ".ndjson", ".jsonlines")
_TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class TextFile:
    """A file of text.

    Attributes
    ----------
    name : str
        What messages call it, with its path.
    path : Path
    text : str
        With the line ends of Unix, without byte order mark.
    notes : list of str
        What was assumed of its encoding.
    """

    name: str
    path: Path
    text: str
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, what: str) -> TextFile:
        """The file at a path; `what` it is, "labels file" for instance, begins messages.

        Raises
        ------
        InputFileError
            It cannot be read, is too large, or is no text.
        """
        name = f"{what} {path}"
        try:
            with opened(path) as file:
                size = os.fstat(file.fileno()).st_size
                data = b"" if size > _LARGEST else file.read(_LARGEST + 1)
        except OSError as error:
            raise InputFileError(f"{name}: cannot be read ({error.strerror})") from None
        except ValueError:
            raise InputFileError(f"{what} {str(path)!r}: is no path, for it has a null character") from None
        if max(size, len(data)) > _LARGEST:
            raise InputFileError(f"{name}: is larger than {_LARGEST >> 20} MiB; is it another file?")
        text, notes = _decoded(data, name)
        return cls(name, path, text.replace("\r\n", "\n").replace("\r", "\n"), notes)

    @property
    def ending(self) -> str:
        """Of its name, in small letters, with the dot."""
        return self.path.suffix.lower()

    def data(self) -> Any:
        """What it holds as JSON, a Python literal, YAML or TOML: mappings, lists, text; None for plain text.

        JSON lines are a list.

        Scalars of YAML stay text, so that a class called "no" does.

        Raises
        ------
        InputFileError
            It begins like one of them, or is called like one, and breaks its rules; names the line.
        """
        if self.ending in _YAML:
            return parsed_yaml(self.text, self.name)
        if self.ending == ".toml":
            return _parsed_toml(self.text, self.name)
        if self.ending in _JSON_LINES:
            return [self._line(k, line) for k, line in enumerate(self.text.split("\n"), 1) if line.strip()]
        if self.ending in (".json", ".jsonc") or self.text.lstrip()[:1] in ("{", "["):
            return self._bracketed()
        if self.text.lstrip()[:1] == "(":
            return self._in_parentheses()
        return self._json_lines()

    def _line(self, k: int, line: str) -> Any:
        try:
            return parsed_json(line)
        except ValueError as error:
            raise InputFileError(f"{self.name}: line {k}, not JSON ({error})") from None

    def _json_lines(self) -> list[Any] | None:
        """The texts, mappings or lists of lines that are all JSON; None where they are none."""
        lines = [line.strip() for line in self.text.split("\n") if line.strip()]
        if self.ending in _TABLES or not all(line[0] in '"{[' for line in lines):
            return None
        try:
            return [parsed_json(line) for line in lines] or None
        except ValueError:
            return None

    def _in_parentheses(self) -> Any:
        """A Python tuple; None for lines that have some of their own, as "(background)"."""
        found = self._literal()
        return found if isinstance(found, tuple) else None

    def _literal(self) -> Any:
        """A Python literal; None where it is none, or too long for Python's parser."""
        if len(self.text) <= _LONGEST_LITERAL:
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                return _shallow(ast.literal_eval(self.text.strip()))
        return None

    def _bracketed(self) -> Any:
        """What stands in brackets: None for lines that have some of their own, as "[background]"."""
        try:
            found = parsed_json(self.text)
        except ValueError as error:
            unread = error
        else:
            if found is None:
                raise InputFileError(f"{self.name}: holds null, and nothing else")
            return found
        lines = self._json_lines()
        if lines is not None:
            return lines
        literal = self._literal()
        if literal is not None:
            return literal
        first = self.text.strip().partition("\n")[0].strip()
        if self.ending not in (".json", ".jsonc") and first.startswith("[") and "]" in first:
            return None
        where = f"line {unread.lineno}, " if isinstance(unread, json.JSONDecodeError) else ""
        reason = unread.msg if isinstance(unread, json.JSONDecodeError) else str(unread)
        raise InputFileError(f"{self.name}: {where}not JSON ({reason}), and no Python literal")


def _decoded(data: bytes, name: str) -> tuple[str, list[str]]:
    """Text by its byte order mark, as UTF-8, or as what Western European systems wrote before that."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding), []
            except UnicodeDecodeError as error:
                problem = (
                    f"the byte order mark is that of {encoding.upper()}, but byte {error.start + len(mark)}"
                )
                raise InputFileError(f"{name}: {problem} does not fit; save it as UTF-8") from None
    if _NO_TEXT.search(data):
        raise InputFileError(
            f"{name}: not a text file: it holds bytes that no text has in UTF-8; one in UTF-16 needs a byte "
            "order mark"
        )
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        encoding = "Latin-1" if not re.search(rb"[\x80-\x9f]", data) else "Windows-1252"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise InputFileError(f"{name}: line {line}: not text in UTF-8; save it as UTF-8") from None
    return text, [f"{name}: line {line} is not UTF-8; it was read as {encoding}"]


def _shallow(data: Any) -> Any:
    """Data as it is; RecursionError where it is nested more deeply than those who read it can follow."""
    level = [data]
    for _ in range(_DEEPEST):
        level = [
            inside
            for each in level
            if isinstance(each, (list, tuple, dict))
            for inside in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return data
    raise RecursionError(_NESTED)


def parsed_json(text: str) -> Any:
    """What text holds as JSON; ValueError where it is none, or nested too deeply."""
    try:
        return _shallow(json.loads(text))
    except RecursionError:
        raise ValueError(_NESTED) from None


def parsed_yaml(text: str, name: str) -> Any:
    """What text holds as YAML, its scalars as they are written.

    Raises
    ------
    InputFileError
        It is none, is nested too deeply, or its aliases stand for much more than is written; names the line.
    """
    import yaml

    try:
        loader = yaml.BaseLoader(text)  # makes nothing but text, lists and mappings
        try:
            node = loader.get_single_node()
            sizes: dict[int, int] = {}
            if _size(node, sizes) > _EXPANSION * len(sizes):
                raise InputFileError(f"{name}: its aliases stand for far more values than it holds")
            return None if node is None else _shallow(loader.construct_document(node))
        finally:
            loader.dispose()
    except RecursionError:
        raise InputFileError(f"{name}: {_NESTED} for YAML") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, " if mark is not None else ""
        reason = getattr(error, "problem", None) or getattr(
            error, "reason", error
        )  # the latter of a character
        raise InputFileError(f"{name}: {where}not YAML ({reason})") from None


def _size(node: Any, known: dict[int, int]) -> int:
    """How many values a node of YAML holds, each alias for all that it stands for; 1 for what holds itself.

    Parameters
    ----------
    known
        By the identity of nodes, to which those within this one are added.
    """
    if id(node) not in known:
        known[id(node)] = 1
        parts = getattr(node, "value", None)
        for part in parts if isinstance(parts, list) else ():
            known[id(node)] += sum(
                _size(each, known) for each in (part if isinstance(part, tuple) else [part])
            )
    return known[id(node)]


def _parsed_toml(text: str, name: str) -> Any:
    import tomllib

    keys = re.split(r"[,=\[\]{}\n]", text)
    try:
        # tomllib needs memory by the square of the number of parts of a key
        if max(len(re.findall(r"\.\s*[^\s.]", key)) for key in keys) >= _DEEPEST:
            raise RecursionError(_NESTED)
        return _shallow(tomllib.loads(text))
    except RecursionError:
        raise InputFileError(f"{name}: {_NESTED} for TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise InputFileError(f"{name}: not TOML ({error})") from None


def find_beside(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The files of a folder that bear one of some names, in the order of these."""
    return [folder / name for name in names if (folder / name).is_file()]
