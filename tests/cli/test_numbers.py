"""Numbers of the command line that are none, or are far too large: refused in a line, at once."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from sobolevflow import capacity
from tests.support.argument_cases import tiny_model
from tests.support.argument_trial import limited
from tests.support.command_line import run

OPTIONS = (
    *("--steps", "--seed", "--batch", "--tau", "--seconds", "--patience", "--octaves", "--jitter", "--noise"),
    *("--rotate", "--zoom", "--threads", "--snapshots", "--canvas", "--background", "--input-shape"),
)

WORDS = (
    *("1e400", "1e999999999", "-1", "nan", "inf", "1/0", "10^9", "", "１２", "9" * 39, "9" * 5000, "1e-400"),
    *("5000000x5000000", "1:1e30", "1e30:5"),
)


@pytest.fixture(autouse=True)
def usual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "machine_bytes", lambda: 24 * 10**9)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("numbers") / "tiny.onnx"
    onnx.save(tiny_model(), path)
    compiling = ["--octaves", "0.5,2", "--rotate", 1, "--steps", 2]
    assert run("visualize", path, "--class", 0, *compiling, "-o", path.with_suffix(".png")) == 0
    return path


@pytest.mark.parametrize("option", OPTIONS)
def test_a_number_that_is_none_ends_in_a_line(
    option: str, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    basis = ["visualize", network, "--class", 0, "--quiet", "-o", network.with_suffix(".png")]
    basis += [] if option == "--steps" else ["--steps", 1]
    for word in WORDS:
        with limited():
            code = run(*basis, f"{option}={word}")
        said = capsys.readouterr().err
        assert code in (0, 1, 2), word[:20]
        assert code == 0 or "error: " in said.splitlines()[-1], (word[:20], said)
        assert len(said) < 3000, word[:20]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", 10**9], "a batch of 1000000000 images|a descent to 1000000000 images"),
        (["--canvas", "1000000x1000000"], "a canvas of 1000000x1000000 pixels needs at least"),
        (["--steps", 10**12], "the history of 1000000000000 steps needs at least"),
        (["--octaves", "1,100000"], "a canvas of 400000x500000 pixels needs at least"),
        (["--steps", "1e400"], "'1e400' is not a whole number"),
        (["--steps", "9" * 5000], "larger number than anything here may be"),
        (["--tau", "1e999999999"], "'1e999999999' is not a number"),
    ],
    ids=str,
)
def test_what_is_too_much_is_told(
    words: list[object], said: str, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with limited():
        code = run("visualize", network, "--class", 0, "-o", network.with_suffix(".png"), *words)
    error = capsys.readouterr().err
    assert code in (1, 2)
    assert any(each in error for each in said.split("|")), error
