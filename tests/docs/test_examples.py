"""The example on the help page of each command runs, beside the files that it names."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from sobolevflow.cli.main import FILES, build_parser
from sobolevflow.cli.options import COMMANDS
from tests.support.command_line import run

build_parser()  # imports all commands
# What is not at hand: a GPU, two networks with layers of those names; and what takes long.
PARSED = ("doctor", "experiment", "demo", "bench")


def words(name: str) -> list[str]:
    program, *rest = shlex.split(COMMANDS[name].example)
    assert program == "sobolevflow"
    return rest


@pytest.mark.parametrize("name", [name for name in FILES if name not in PARSED])
def test_an_example_runs(name: str, folder: Path) -> None:
    if name == "rerun":
        assert run("visualize", "builtin:shapes-vgg", "--class", "0", "--steps", "2", "-o", "crab.png") == 0
    assert run(*words(name), *(["--steps", "2"] if name in ("visualize", "invert") else [])) == 0
    if "-o" in words(name):
        assert (folder / words(name)[words(name).index("-o") + 1]).exists()


@pytest.mark.parametrize("name", PARSED)
def test_an_example_can_be_parsed(name: str) -> None:
    build_parser().parse_args(words(name))
