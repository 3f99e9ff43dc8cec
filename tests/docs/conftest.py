"""What the tests of pages share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.paths import BENCH


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A script of bench/ by its name."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


@pytest.fixture
def text(request: pytest.FixtureRequest) -> str:
    """The page that a file of tests is about, its `PAGE`."""
    page: Path = request.module.PAGE
    return page.read_text(encoding="utf-8")
