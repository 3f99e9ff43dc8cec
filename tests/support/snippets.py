"""Running what the documentation shows, and reading what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def run_snippets(text: str) -> dict[str, Any]:
    """Run the blocks of Python in a page, or in a part of one, in turn; the names that they leave."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    return names


def prose(page: Path) -> str:
    """The text of a page on one line, in which a sentence is found wherever it is broken."""
    return " ".join(page.read_text(encoding="utf-8").split())
