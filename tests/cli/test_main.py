"""The command as a whole: what is mistyped, exit codes, and what the command line has of the library."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import sobolevflow as sf
from sobolevflow import errors
from sobolevflow.cli.main import FILES, exit_code
from sobolevflow.cli.options import COMMANDS, arguments_of
from sobolevflow.errors import InputFileError, OutputNameError, SobolevflowError
from tests.support.command_line import run
from tests.support.paths import DOCS

VGG = "builtin:shapes-vgg"


def test_no_word_at_all_gets_the_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    page = capsys.readouterr().out
    assert run("--help") == 0
    assert capsys.readouterr().out == page
    assert "visualize" in page


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["visualise"], "Did you mean 'visualize'?"),
        (["atribute", "--help"], "Did you mean 'attribute'?"),
        (["--hepl"], "Did you mean '--help'?"),
        (["visualize", VGG, "--class", "1", "-o", "a.png", "--stesp", "3"], "Did you mean '--steps'?"),
        (["visualize", "--stesp=3"], "Did you mean '--steps'?"),
        (["filter", "a.png", "--quite"], "Did you mean '--quiet'?"),
        (["visualize", VGG, "--class", "1", "-o", "a.png", "--scheme", "fluid-elstic"], "'fluid-elastic'"),
        (["bench", "filter"], "Did you mean 'filters'?"),
    ],
)
def test_what_is_mistyped_is_told(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert meant in line


def test_what_is_like_nothing_gets_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("visualize", "--zyx") == 2
    said = capsys.readouterr().err
    assert "there is no option --zyx" in said
    assert "Did you mean" not in said


ERRORS = {
    name: each
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, SobolevflowError)
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_class_of_an_error_says_its_exit_code(name: str) -> None:
    """As the table of the guide has it: 2 where the call has to be corrected, 1 for all else."""
    table = (DOCS / "guide.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    told = {
        code: set(re.findall(r"`(\w+Error)`", row))
        for code, row in re.findall(r"^\| (\d+) \| (.*)", table, re.M)
    }
    each = ERRORS[name]
    expected = 2 if name in told["2"] else 1
    assert exit_code(each("something")) == expected
    assert (name in told["1"]) != (name in told["2"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["visualize", "absent.onnx", "--class", "0", "-o", "a.png"], 1),
        (["visualize", VGG, "--class", "0", "--labels", "absent.txt", "-o", "a.png"], 1),
        (["visualize", VGG, "--class", "0", "--preprocess", "absent.json", "-o", "a.png"], 1),
        (["visualize", VGG, "--class", "0", "--input", "x=absent.npy", "-o", "a.png"], 1),
        (["visualize", VGG, "--class", "0", "--start", "absent.npy", "-o", "a.png"], 1),
        (["visualize", VGG, "--class", "0", "--start", "absent.png", "-o", "a.png"], 1),
        (["visualize", VGG, "--class", "0", "--mask", "absent.png", "-o", "a.png"], 1),
        (["visualize", VGG, "--direction", "block2_relu2", "absent.npy", "-o", "a.png"], 1),
        (["invert", VGG, "absent.png", "--layer", "block2_relu2", "-o", "a.png"], 1),
        (["filter", "absent.png", "-o", "a.png"], 1),
        (["filter", "absent.png", "-o", "absent/a.png"], 1),
        (["visualize", VGG, "--class", "0", "-o", "absent/a.png"], 1),
        (["gradient", VGG, "--class", "0", "-o", "absent/a.onnx"], 1),
        (["visualize", VGG, "--class", "99", "-o", "a.png"], 2),
        (["visualize", VGG, "--class", "0", "-o", "a.xyz"], 2),
        (["visualize", VGG, "--class", "0", "-o", "."], 2),
        (["visualize", VGG, "--class", "0", "-o", "a.jpg", "--bits", "16"], 2),
        (["gradient", VGG, "--class", "0", "-o", "."], 2),
        (["filter", "absent.png", "-o", "a.xyz"], 2),
        (["filter", "a.png", "b.png", "-o", "c.png"], 2),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_the_same_kind_of_mistake_has_the_same_exit_code(
    words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == code
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_read_is_still_an_input_error() -> None:
    assert issubclass(InputFileError, errors.InputError)
    assert issubclass(OutputNameError, OSError)


# What a command has of a function: its parameters by other names, and those that make no sense there.
ELSEWHERE: dict[str, dict[str, str]] = {
    "visualize": {
        "net": "model",
        "objective": "class",
        "clip": "no_clip",
        "progress": "quiet",
        "autosave": "output",  # beside it, always
    },
    "invert": {
        "net": "model",
        "objective": "layer",
        "clip": "no_clip",
        "progress": "quiet",
        "autosave": "output",
    },
}
IN_PYTHON_ALONE = {"callback"}


def _keys(name: str) -> set[str]:
    run(name, "--help")  # enters it
    table = COMMANDS[name].table
    return {each.key for each in arguments_of(table() if callable(table) else table)}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_command_line_has_every_parameter_of_a_descent(name: str) -> None:
    parameters: Any = inspect.signature(getattr(sf, name)).parameters
    wanted = {ELSEWHERE[name].get(each, each) for each in parameters if each not in IN_PYTHON_ALONE}
    assert wanted <= _keys(name)


@pytest.mark.parametrize("name", ["visualize", "invert", "gradient", "attribute", "inspect"])
def test_the_command_line_has_every_parameter_of_load(name: str) -> None:
    by_another_name = {"source": "model", "inputs": "input", "output": "scores", "limits": "limit"}
    parameters = set(inspect.signature(sf.load).parameters) - {"example"}  # of modules in memory
    wanted = {by_another_name.get(each, each) for each in parameters}
    assert wanted <= _keys(name)


@pytest.mark.parametrize("name", FILES)
def test_every_command_can_be_quiet_and_prints_json(name: str) -> None:
    assert {"quiet", "json"} <= _keys(name)
