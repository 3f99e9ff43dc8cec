"""The address of a cell: what moves it, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

import sobolevflow
from sobolevflow import _version
from sobolevflow.experiments import cells
from sobolevflow.experiments.cells import Store

KEY = {"task": "invert", "seed": 0}
DIGEST = "6687917b7db1376068c0e9c44660b8933ff220182c36b824942164e35fbd0631"


def address(folder: Path) -> str:
    path = Store(folder).path(KEY)
    return path.parent.name + path.stem


def test_an_address_is_the_same_in_every_version_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert address(tmp_path) == DIGEST
    for module in (sobolevflow, _version):
        monkeypatch.setattr(module, "__version__", "9.9.9")
    assert address(tmp_path) == DIGEST


def test_other_numerics_are_other_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "NUMERICS", "0.2.0")
    assert address(tmp_path) != DIGEST
