"""Names that a terminal would obey, and names without an end, through what the commands print and write."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from onnx import helper
from PIL import Image

import sobolevflow as sf
from sobolevflow.text import MOST, apart, printable
from tests.support.command_line import run
from tests.support.gradient_cases import make_model
from tests.support.hostile_text import TRAPS, dangerous, names
from tests.support.paths import ROOT

few = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def network(path: Path, layers: Sequence[str]) -> Path:
    """A network of rectifiers that are called so, and three classes."""
    before = ["x", *layers]
    nodes = [helper.make_node("Relu", [x], [y], domain="") for x, y in zip(before, layers, strict=False)] + [
        helper.make_node("GlobalAveragePool", [before[-1]], ["of all places"]),
        helper.make_node("Flatten", ["of all places"], ["class scores"]),
    ]
    onnx.save(make_model(nodes, {"x": ((1, 3, 8, 8), 1)}, ["class scores"]), path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
    return path


layers_of_a_network = st.lists(
    names.filter(lambda name: name not in ("x", "of all places", "class scores")),
    min_size=1,
    max_size=4,
    unique=True,
)


class _Read(HTMLParser):
    """What a browser shows of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(page: str) -> _Read:
    read = _Read()
    read.feed(page)
    read.close()
    return read


USUAL_TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "b",
        "div",
        "figure",
        "img",
        "figcaption",
    ),
    *("table", "tr", "th", "td", "details", "summary", "pre", "svg", "path", "polyline", "text", "mark"),
}


@few
@given(
    layers=layers_of_a_network, labels=st.lists(names.map("a{}z".format), min_size=3, max_size=3, unique=True)
)
def test_names_of_a_file_reach_no_terminal_raw(
    layers: list[str], labels: list[str], tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, page, picture = network(tmp_path / "net.onnx", layers), tmp_path / "a.html", tmp_path / "a.png"
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    of = [model, "--preprocess", "none", "--labels", tmp_path / "labels.json"]
    assert run("inspect", *of) == 0
    assert run("visualize", *of, "--class", "1", "--steps", "1", "-o", picture, "--report", page) == 0
    assert run("invert", *of, photo, f"--layer={layers[0]}", "--steps", "1", "-o", picture) in (0, 2)
    assert run("gradient", *of, "--class", "1", "-o", tmp_path / "g.onnx", f"--activation={layers[-1]}") in (
        0,
        2,
    )
    assert run("attribute", *of, photo, "-o", picture) == 0
    assert run("classify", *of, photo, "--judge", model, "--judge-labels", tmp_path / "labels.json") == 0
    assert run("visualize", *of, f"--layer={layers[0]}?", "-o", picture) == 2
    assert run("visualize", *of, f"--class={labels[0]}?", "-o", picture) == 2
    said = capsys.readouterr()
    assert not dangerous(said.out + said.err, allowed="\n")
    assert all(len(line) <= MOST for line in said.err.splitlines())

    assert run("inspect", *of, "--json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["labels"] == labels
    assert [layer["name"] for layer in whole["layers"]][: len(layers)] == layers

    written = page.read_text(encoding="utf-8")
    read = seen(written)
    assert read.tags <= USUAL_TAGS
    assert not dangerous(written, allowed="\n")
    assert not dangerous(json.dumps(json.loads(picture.with_suffix(".manifest.json").read_text())))


@pytest.mark.parametrize("trap", TRAPS, ids=range(len(TRAPS)))
def test_a_page_shows_the_names_and_marks_what_cannot_be_seen(trap: str, tmp_path: Path) -> None:
    name = f"a<i>{trap}</i>z"
    net = sf.load(network(tmp_path / "net.onnx", ["y"]), preprocess="none", labels=["b", name, "c"])
    result = sf.visualize(net, sf.Class(name), steps=1, progress=False)
    result.report(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    read = seen(page)
    hidden = bool(dangerous(trap))
    assert ("mark" in read.tags) == hidden
    assert read.tags <= USUAL_TAGS
    assert not dangerous(page, allowed="\n")
    assert printable(name) in read.text
    assert not dangerous(result._repr_html_())
    assert json.loads(result.manifest_json())["objective"]["label"] == f"class {name}"


LONG = [f"block1/{'y' * 250}{k}{'z' * 250}/relu" for k in range(3)]


@pytest.mark.parametrize("width", [40, 80])
def test_long_names_are_told_apart_on_a_narrow_terminal(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(tmp_path / "net.onnx", [*LONG, "b" * (width - 1)])
    monkeypatch.setenv("COLUMNS", str(width))
    assert run("inspect", model, "--preprocess", "none") == 0
    lines = capsys.readouterr().out.splitlines()
    layers = lines[lines.index(apart(LONG, width - 1)[0]) :]
    assert all(len(line) < width for line in layers)
    assert set(apart(LONG, width - 1)) | {"b" * (width - 1)} <= set(layers)
    assert len({line for line in layers if line.startswith("block1")}) == 3
    assert all(line in " ".join(layers) for line in ("operator Relu", "gradient yes"))


def test_elsewhere_a_table_has_the_names_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    model = network(tmp_path / "net.onnx", [f"[red]:bug:{'y' * 380}", "b"])
    assert run("inspect", model, "--preprocess", "none") == 0
    assert f" [red]:bug:{'y' * 380}  Relu " in capsys.readouterr().out


def test_the_whole_error_is_in_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = f"class {'x' * 900}\x1b"
    assert run("attribute", "builtin:shapes-vgg", "a.png", "--class", asked, "--json", "-o", "b.png") == 2
    said = capsys.readouterr()
    assert repr(asked) in json.loads(said.out)["error"]
    (line,) = said.err.splitlines()
    assert len(line) <= MOST
    assert "...xxx" in line


def test_several_photographs_have_their_whole_errors_in_the_json(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = "/".join(["no" * 100] * 5)
    assert run("filter", photo, missing, "-o", photo.parent / "out", "--json") == 1
    said = capsys.readouterr()
    assert missing in json.loads(said.out)["errors"][missing]
    assert len(said.err.strip()) <= MOST


@pytest.mark.parametrize("name", ["螺" * 300, "\x1b" * 300], ids=["wide", "escape"])
def test_a_message_is_no_longer_where_names_have_to_be_escaped(name: str) -> None:
    words = [sys.executable, "-m", "sobolevflow", "inspect", f"{name[:60]}.onnx", f"--{name}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, env=env)
    (line,) = done.stderr.decode("ascii").splitlines()
    assert len(line) <= MOST
    assert not dangerous(line)


def drawn(label: str, width: int) -> str:
    """The progress bar on a terminal of that width."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    program = (
        "import sys, time; from sobolevflow.descent import progress_bar\n"
        "with progress_bar(sys.argv[1], 1000) as done:\n"
        "    for _ in range(7): done(-1.234567e-8)\n"
        "    time.sleep(0.3)"
    )
    env = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    env |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    subprocess.run([sys.executable, "-c", program, label], stderr=theirs, env=env, check=True)
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said.decode())  # what rich says to the terminal itself


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize(("width", "there"), [(40, ["-1.235e-08"]), (80, ["-1.235e-08", "0:00", "steps/s"])])
def test_a_progress_bar_obeys_no_label_and_keeps_its_counts(width: int, there: list[str]) -> None:
    shown = drawn("[red]block[/blue]\x1b[2J\udcff\u202e" + "y" * 260, width)
    (last, *_) = [line for line in reversed(re.split("[\r\n]+", shown)) if line.strip()]
    assert not dangerous(shown, allowed="\r\n")
    assert len(last) <= width
    assert last.startswith("[red]")
    assert all(each in last for each in ["7/1000", *there])
