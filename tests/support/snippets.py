"""Running what the documentation shows, and reading what it says.

A block of a page, in a fence, is of a language and may bear a mark behind it, which says why it is not run
where the others are: ``python torch``, ``sh gpu``. `MARKS` holds them.
"""

from __future__ import annotations

import ast
import glob
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKS = {
    "gpu": "needs an NVIDIA GPU",
    "torch": "needs PyTorch, or another library that the package does without",
    "make": "is what runs the tests, or what they run in",
    "long": "takes minutes to hours, or fetches files",
    "program": "is a file of docs/examples, which another test runs",
    "part": "is a part of a file, the whole of which a test holds",
    "package": "is a part of a file of the package",
}

_BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """What stands in a fence."""

    language: str
    mark: str  # or ""
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The lines of a shell, as the arguments of each."""
        whole = self.text.replace("\\\n", " ")
        return [words for line in whole.splitlines() if (words := shlex.split(line, comments=True))]


def blocks(text: str) -> list[Block]:
    """The blocks of a page that have a language, in their order."""
    return [Block(language, mark or "", body) for language, mark, body in _BLOCK.findall(text)]


def run_snippets(text: str, marks: Iterable[str] = ("",)) -> dict[str, Any]:
    """Run the blocks of Python in a page, or in a part of one, in turn; the names that they leave."""
    names: dict[str, Any] = {}
    for block in blocks(text):
        if block.language == "python" and block.mark in marks:
            exec(block.text, names)
    return names


def sobolevflow_commands(block: Block) -> Iterator[list[str]]:
    """The arguments of each call of the command in a block, file names expanded as a shell does."""
    for program, *arguments in block.commands:
        if program == "sobolevflow":
            expanded = [sorted(glob.glob(each)) or [each] if "*" in each else [each] for each in arguments]
            yield [each for some in expanded for each in some]


def check_syntax(block: Block) -> None:
    """SyntaxError unless a block of Python can be parsed; a decorator or class may lack what follows."""
    try:
        ast.parse(block.text)
    except SyntaxError:
        if block.mark != "part":
            raise
        ast.parse(block.text + "    pass\n")


def prose(page: Path) -> str:
    """The text of a page on one line, in which a sentence is found wherever it is broken."""
    return " ".join(page.read_text(encoding="utf-8").split())
