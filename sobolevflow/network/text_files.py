"""Text as people have it: whatever its encoding, and whatever it is written in, read once for all uses."""

from __future__ import annotations

import ast
import codecs
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputFileError

_MARKS = (  # the longer ones first: that of UTF-16 is the beginning of one of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_YAML = (".yaml", ".yml")
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
            It cannot be read, or is no text.
        """
        name = f"{what} {path}"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputFileError(f"{name}: cannot be read ({error.strerror})") from None
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
            return json.loads(line)
        except ValueError as error:
            raise InputFileError(f"{self.name}: line {k}, not JSON ({error})") from None

    def _json_lines(self) -> list[Any] | None:
        """The texts, mappings or lists of lines that are all JSON; None where they are none."""
        lines = [line.strip() for line in self.text.split("\n") if line.strip()]
        if self.ending in _TABLES or not all(line[0] in '"{[' for line in lines):
            return None
        try:
            return [json.loads(line) for line in lines] or None
        except ValueError:
            return None

    def _in_parentheses(self) -> Any:
        """A Python tuple; None for lines that have some of their own, as "(background)"."""
        try:
            found = ast.literal_eval(self.text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
        return found if isinstance(found, tuple) else None

    def _bracketed(self) -> Any:
        """What stands in brackets: None for lines that have some of their own, as "[background]"."""
        try:
            found = json.loads(self.text)
        except ValueError as error:
            unread = error
        else:
            if found is None:
                raise InputFileError(f"{self.name}: holds null, and nothing else")
            return found
        lines = self._json_lines()
        if lines is not None:
            return lines
        try:
            return ast.literal_eval(self.text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
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


def parsed_yaml(text: str, name: str) -> Any:
    """What text holds as YAML, its scalars as they are written.

    Raises
    ------
    InputFileError
        It is none; names the line.
    """
    import yaml

    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # makes nothing but text, lists and mappings
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, " if mark is not None else ""
        reason = getattr(error, "problem", None) or error
        raise InputFileError(f"{name}: {where}not YAML ({reason})") from None


def _parsed_toml(text: str, name: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputFileError(f"{name}: not TOML ({error})") from None


def find_beside(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The files of a folder that bear one of some names, in the order of these."""
    return [folder / name for name in names if (folder / name).is_file()]
