"""Running what the documentation shows."""

from __future__ import annotations

import re
from typing import Any


def run_snippets(text: str) -> dict[str, Any]:
    """Run the blocks of Python in a page, or in a part of one, in turn; the names that they leave."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    return names
