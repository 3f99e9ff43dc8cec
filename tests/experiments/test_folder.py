"""Names of layers and classes as those of files, and in tables, whatever is in them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from sobolevflow.experiments import Folder
from tests.support.hostile_text import dangerous, texts

PIXELS = np.zeros((1, 1, 3), np.uint8)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=texts)
def test_a_sheet_has_a_name_that_every_system_takes(name: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    path = folder.picture(f"sweep-{name}", PIXELS)
    assert path.is_file()
    assert path.parent == folder.path
    assert len(path.name.encode()) <= 220
    assert not dangerous(path.name)
    assert not set(path.name) & set('\\/:*?"<>|')


def test_long_names_of_layers_do_not_take_each_others_place(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    paths = {folder.picture(f"{'a' * 300}{k}{'b' * 300}", PIXELS) for k in range(3)}
    assert len(paths) == 3


@pytest.mark.parametrize("name", ["\udcff", "\x1b[2J", "two\nlines", "螺旋, 'x'"], ids=ascii)
def test_a_table_has_names_that_can_be_printed(name: str, tmp_path: Path) -> None:
    path = Folder(tmp_path).table("t", [{"network": name, "value": 0.5}])
    written = path.read_text(encoding="utf-8")
    assert not dangerous(written, allowed="\n")
    (row,) = csv.DictReader(written.splitlines())
    assert row == {
        "network": name.encode("unicode_escape").decode() if dangerous(name) else name,
        "value": "0.5",
    }
