"""SIGTERM and SIGHUP end a command as Ctrl-C does, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow.experiments.cells import Store
from tests.support.paths import ROOT
from tests.support.sampling import sampled

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
SAID = {INT: "interrupted", TERM: "terminated", HUP: "hung up"}

# The command, which says by a file that a function of it is called for the so-many-th time, and waits there.
PROGRAM = """
import hashlib, importlib, sys, time
from pathlib import Path
from sobolevflow.__main__ import command

owner, name, at, seconds = {where!r}, {name!r}, {at}, {seconds}
module, _, inside = owner.partition(":")
owner = importlib.import_module(module)
owner = getattr(owner, inside) if inside else owner
usual, calls = getattr(owner, name), []

def told(*given, **more):
    calls.append(None)
    if len(calls) == at:
        Path("ready").touch()
        {waiting}
    return usual(*given, **more)

setattr(owner, name, told)
sys.argv = ["sobolevflow", *{words!r}]
if __name__ == "__main__":
    command()
"""
SLEEPING = "time.sleep(seconds)"
COMPUTING = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10 ** 9)"  # in C, where no signal is looked at

STEP = ("sobolevflow.descent.autosave:Autosave", "offer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


@contextmanager
def running(
    folder: Path,
    words: list[str],
    where: tuple[str, str],
    at: int = 120,  # beyond the steps that are tried before a descent
    *,
    seconds: float = 0,
    waiting: str = SLEEPING,
    ignored: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The command, from the moment on at which it is where it should be."""
    text = PROGRAM.format(where=where[0], name=where[1], at=at, seconds=seconds, words=words, waiting=waiting)
    (folder / "program.py").write_text(text)

    def listening() -> None:  # a process in the background of a shell ignores Ctrl-C, and its children do
        signal.signal(INT, signal.default_int_handler)
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    process = subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listening,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 120
        while not (folder / "ready").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


VISUALIZE = ["visualize", "builtin:shapes-vgg", "--class", "0", "--steps", "100000", "-o", "out.png"]


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_a_descent_keeps_what_there_is(folder: Path, number: signal.Signals) -> None:
    with running(folder, [*VISUALIZE, "--npy", "u.npy"], STEP) as process:
        process.send_signal(number)
        out, said = process.communicate(timeout=180)
    assert process.returncode == 128 + number, said
    assert "wrote out.png" in out
    assert "note: Interrupted after" in said
    assert json.loads((folder / "out.manifest.json").read_text())["outcome"]["stopped_by"] == "interrupt"
    assert np.load(folder / "u.npy").shape == (1, *sf.load("builtin:shapes-vgg").input_shape)
    assert not list(folder.glob("*partial*"))


def test_a_signal_while_it_is_written_loses_nothing(folder: Path) -> None:
    words = [*VISUALIZE[:-4], "--steps", "2", "-o", "out.png", "--quiet"]
    where = ("sobolevflow.results.result", "write_arranged")
    with running(folder, words, where, at=1, seconds=60) as process:
        process.send_signal(TERM)
        _, said = process.communicate(timeout=180)
    assert (process.returncode, said) == (128 + TERM, "sobolevflow: terminated\n")
    assert Image.open(folder / "out.png").size == (96, 96)


@pytest.mark.parametrize("all_of_them", [False, True])
@pytest.mark.parametrize("number", sampled([TERM, HUP], every=2))
def test_a_descent_on_several_devices_keeps_what_there_is(
    folder: Path, number: signal.Signals, all_of_them: bool
) -> None:
    words = [*VISUALIZE, "--device", "cpu,cpu", "--batch", "2"]
    with running(folder, words, ("sobolevflow.descent.several", "_take"), at=2) as process:
        if all_of_them:  # as a terminal and systemd do
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        out, said = process.communicate(timeout=100)
    assert process.returncode == 128 + number, said
    assert "wrote out.png" in out
    assert json.loads((folder / "out.manifest.json").read_text())["outcome"]["shape"][0] == 2


OTHERS: list[tuple[list[str], tuple[str, str], int, list[str]]] = [
    (
        ["filter", "a.png", "b.png", "c.png", "-o", "out"],
        ("sobolevflow.cli.picture_filter", "filter_picture"),
        3,
        ["out/a.png", "out/b.png"],
    ),
    (
        ["attribute", "builtin:shapes-vgg", "a.png", "b.png", "c.png", "-o", "out.png"],
        ("sobolevflow.cli.attribute", "_attribute"),
        3,
        ["out.png"],
    ),
    (["demo", "-o", "out", "--steps", "3", "--quiet"], STEP, 5, ["out/sobolev-fluid.png"]),
    (
        ["experiment", "figure1", "builtin:shapes-vgg", "--class=0", "--steps=2", "-o", "out", "--quiet"],
        ("sobolevflow.experiments.descents", "descend"),
        3,
        ["out/manifest.json"],
    ),
    (["bench", "tv", "--shape", "1x1x64x64"], ("sobolevflow.experiments.benchmark", "_prox_call"), 1, []),
]


@pytest.mark.parametrize("number", sampled([TERM, HUP], every=2))
@pytest.mark.parametrize(("words", "where", "at", "kept"), OTHERS, ids=[each[0][0] for each in OTHERS])
def test_every_long_command_keeps_what_is_done(
    folder: Path, words: list[str], where: tuple[str, str], at: int, kept: list[str], number: signal.Signals
) -> None:
    with running(folder, words, where, at, seconds=60) as process:
        process.send_signal(number)
        out, said = process.communicate(timeout=180)
    assert process.returncode == 128 + number, said
    assert (out, said) == ("", f"sobolevflow: {SAID[number]}\n")
    for name in kept:
        assert (folder / name).stat().st_size
        if name.endswith(".png"):
            Image.open(folder / name).load()
    assert not list(folder.rglob("*.part"))


def test_an_experiment_goes_on_where_it_was(folder: Path) -> None:
    words, where, at, _ = OTHERS[3]
    with running(folder, words, where, at, seconds=60) as process:
        process.send_signal(TERM)
        process.communicate(timeout=180)
    assert len([*Store(folder / "out" / "cells").folder.rglob("*.npz")]) == at - 1


def test_the_second_ends_at_once(folder: Path) -> None:
    where = ("sobolevflow.descent.loop:Loop", "finished")
    words = [*VISUALIZE[:-4], "--steps", "2", "-o", "out.png", "--quiet"]
    with running(folder, words, where, at=1, waiting=COMPUTING) as process:
        process.send_signal(HUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(TERM)
        _, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (128 + TERM, "sobolevflow: terminated\n")


def test_two_at_the_same_time_are_one(folder: Path) -> None:
    """A terminal that is closed tells the command, and so does its shell."""
    with running(folder, VISUALIZE, STEP) as process:
        process.send_signal(signal.SIGSTOP)  # so that both wait for it, however busy the machine is
        process.send_signal(HUP)
        process.send_signal(TERM)
        process.send_signal(signal.SIGCONT)
        out, said = process.communicate(timeout=180)
    assert process.returncode == 128 + HUP, said
    assert "wrote out.png" in out, said


def test_what_nohup_ignores_stays_ignored(folder: Path) -> None:
    with running(folder, VISUALIZE, STEP, ignored=HUP) as process:
        process.send_signal(HUP)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(TERM)
        process.communicate(timeout=180)
    assert process.returncode == 128 + TERM


def test_a_terminal_that_is_gone_is_no_other_error(folder: Path) -> None:
    with running(folder, VISUALIZE, STEP) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.send_signal(HUP)
        process.wait(timeout=180)
    assert process.returncode == 128 + HUP
    assert (folder / "out.png").exists()


def test_the_library_leaves_signals_alone(folder: Path) -> None:
    before = [signal.getsignal(number) for number in SAID]
    result = sf.visualize(sf.load("builtin:shapes-vgg"), sf.Class(0), steps=2, progress=False)
    result.save(folder / "out.png")
    assert [signal.getsignal(number) for number in SAID] == before
