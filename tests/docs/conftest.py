"""What the tests of pages share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def text(request: pytest.FixtureRequest) -> str:
    """The page that a file of tests is about, its `PAGE`."""
    page: Path = request.module.PAGE
    return page.read_text(encoding="utf-8")
