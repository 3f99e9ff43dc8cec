"""A command of another program: declared once, and the command line has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sobolevflow.cli import Argument, Given, Group, command, main
from sobolevflow.cli.main import FILES
from sobolevflow.cli.options import COMMANDS, check_belongs, keywords
from sobolevflow.cli.types import Kind, number, one_of

CHANNELS = (
    Argument("--gain", "grey: a factor (default: 1)", Kind("X", number), belongs_to=("grey",)),
    Argument("--channel", "rgb: which one", Kind("N", int), belongs_to=("rgb",), keyword="axis"),
)


@pytest.fixture(autouse=True)
def brightness() -> Iterator[None]:
    """A command with a word, two options that belong to choices of a third, and a flag."""

    @command(
        "brightness",
        "print how bright a picture is",
        "sobolevflow brightness photo.png --of grey",
        (
            Argument("photo", "image file"),
            Argument("--of", "which mean", one_of("grey", "rgb"), default="grey"),
            Group("how", CHANNELS),
            Argument("--bare", "only the number", flag=True),
        ),
    )
    def _brightness(given: Given) -> int:
        check_belongs(given, CHANNELS, "--of ", given["of"])
        more = keywords(given, CHANNELS)
        pixels = np.asarray(Image.open(given["photo"]), np.float64)
        chosen = pixels[..., more["axis"]] if "axis" in more else pixels
        print("" if "bare" in given else "brightness", f"{chosen.mean() * more.get('gain', 1):g}")
        return 0

    yield
    del COMMANDS["brightness"]


@pytest.fixture
def photo(tmp_path: Path) -> str:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[..., 1] = 60
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], "brightness 20"),
        (["--gain", "1/2"], "brightness 10"),
        (["--of", "rgb", "--channel", "1", "--bare"], "60"),
    ],
)
def test_it_runs(photo: str, options: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["brightness", photo, *options]) == 0
    assert capsys.readouterr().out.strip() == printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--channel", "1"],
            "sobolevflow: error: --channel belongs to --of rgb, not to grey; grey has --gain",
        ),
        (
            ["--gain", "much"],
            "sobolevflow brightness: error: argument --gain: 'much' is not a number or a fraction such as "
            "5/255; see 'sobolevflow brightness --help'",
        ),
    ],
)
def test_wrong_usage_is_answered_in_one_line(
    photo: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["brightness", photo, *options])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_two_options_of_one_name_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clashing = replace(COMMANDS["brightness"], table=(*CHANNELS, Argument("--gain")))
    monkeypatch.setitem(COMMANDS, "brightness", clashing)
    assert main(["brightness", "photo.png"]) == 2
    said = "--gain of grey is called like something else that brightness takes"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("name", ["", "brightness", *FILES])
def test_help_pages_fit_the_terminal(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    page = capsys.readouterr().out
    assert name in page
    if not name:
        assert "print how bright a picture is" in " ".join(page.split())
    assert [line for line in page.splitlines() if len(line) > columns] == []


LAZY = """
import sys
from sobolevflow.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(*sorted(name for name in sys.modules if name.startswith("sobolevflow.") or name in {"numpy", "onnx"}))
"""


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--help"], ("numpy", "onnx", "sobolevflow.descent", "sobolevflow.filters")),
        (["bench", "--help"], ("numpy", "sobolevflow.cli.descend", "sobolevflow.cli.demo")),
        (["filter", "--help"], ("onnx", "sobolevflow.onnxgrad", "sobolevflow.cli.descend")),
    ],
)
def test_a_command_loads_what_it_needs(words: list[str], absent: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", LAZY, *words], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "sobolevflow.cli.main" in loaded
    assert not set(absent) & set(loaded)
