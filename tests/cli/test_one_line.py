"""What fails says one line, whatever other libraries wanted to say; what ends well says it all as notes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sobolevflow import asides
from sobolevflow.text import MOST
from tests.support.paths import ROOT

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
CUT_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06"


def encoded(kind: str, pixels: np.ndarray = PIXELS, **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **how)
    return buffer.getvalue()


def flipped(content: bytes, start: int, end: int, every: int) -> bytes:
    damaged = bytearray(content)
    for at in range(start, end, every):
        damaged[at] ^= 0x5A
    return bytes(damaged)


def deflated(end: int = -400) -> bytes:
    """A compressed TIFF file, of which libtiff complains on the standard error."""
    content = encoded("tiff", compression="tiff_deflate")
    return flipped(content, 100, len(content) + end, 7)


def fax() -> bytes:
    """A fax that libtiff reads, with complaints."""
    content = encoded("tiff", PIXELS[:, :, 0] > 127, compression="group4")
    return flipped(content, 100, len(content) - 400, 7)


def bomb() -> bytes:
    """So many pixels that Pillow warns, and then not all of them."""
    return encoded("png", np.zeros((10000, 10000), bool))[:5000]


def process(*words: object, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, env=env, cwd=folder, timeout=120
    )


# What it is, and what of it would be heard on the standard error, past the command.
FAILING: dict[str, tuple[str, Callable[[], bytes]]] = {
    "libtiff": (".tif", deflated),
    "tifffile's log": (".tif", lambda: encoded("tiff", compression="tiff_lzw")[:3000]),
    "Pillow's EXIF": (".jpg", lambda: encoded("jpeg", exif=CUT_EXIF)[:3000]),
    "Pillow's bomb": (".png", bomb),
    "neither": (".png", lambda: encoded("png")[:500]),
}


@pytest.mark.parametrize("who", FAILING)
def test_a_picture_that_cannot_be_read_is_one_line(who: str, tmp_path: Path) -> None:
    ending, content = FAILING[who]
    (tmp_path / f"bad{ending}").write_bytes(content())
    done = process("-m", "sobolevflow", "filter", f"bad{ending}", "-o", "out.png", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sobolevflow: error: 'bad{ending}' ")
    assert len(line) <= MOST


@pytest.mark.parametrize(
    ("ending", "content", "said"),
    [
        (".jpg", lambda: encoded("jpeg", exif=CUT_EXIF), ": UserWarning: Corrupt EXIF data."),
        (".tif", fax, "'odd.tif': Fax4Decode: "),
    ],
)
def test_what_decoders_say_of_what_they_read_is_a_note(
    ending: str, content: Callable[[], bytes], said: str, tmp_path: Path
) -> None:
    (tmp_path / f"odd{ending}").write_bytes(content())
    words = ("-m", "sobolevflow", "filter", f"odd{ending}", "-o", "out.png")
    done = process(*words, folder=tmp_path)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert any(line.startswith("sobolevflow: note: ") and said in line for line in lines)
    assert all(line.startswith("sobolevflow: note: ") and len(line) <= MOST for line in lines)
    assert process(*words, "--quiet", folder=tmp_path).stderr == ""


def test_of_several_photographs_what_failed_says_its_line_and_the_others_their_notes(tmp_path: Path) -> None:
    for name, content in {"bad.tif": deflated(), "odd.tif": fax()}.items():
        (tmp_path / name).write_bytes(content)
    done = process("-m", "sobolevflow", "filter", "bad.tif", "odd.tif", "-o", "out", folder=tmp_path)
    error, *notes = done.stderr.splitlines()
    assert done.returncode == 1
    assert error.startswith("sobolevflow: error: 'bad.tif'")
    assert notes
    assert all(note.startswith("sobolevflow: note: ") and "bad.tif" not in note for note in notes)


SPEAKING = """
import logging, os, sys, warnings
import numpy as np
from sobolevflow import asides
from sobolevflow.cli import command, main
from sobolevflow.errors import ModelError, warn
from sobolevflow.cli.printing import say_notes

@command("speak", "say a lot", "sobolevflow speak", ())
def speak(given):
    say_notes(["of the network"])
    warn("assumed")
    np.float32(3e38) * np.float32(10)
    logging.getLogger("tifffile").error("of a log")
    with asides.heard("'a.tif'"):
        os.write(2, b"of a decoder\\n")
    if len(sys.argv) > 2:
        raise ModelError("it failed")
    print("done")
    return 0

sys.argv[1:1] = ["speak"]
sys.exit(main(sys.argv[1:2]))
"""


def test_all_that_is_said_waits_until_a_command_has_ended_well(tmp_path: Path) -> None:
    good, bad = (process("-c", SPEAKING, *more, folder=tmp_path) for more in ([], ["fail"]))
    assert (bad.returncode, bad.stdout, bad.stderr) == (1, "", "sobolevflow: error: it failed\n")
    assert (good.returncode, good.stdout) == (0, "done\n")
    said = [line.removeprefix("sobolevflow: note: ") for line in good.stderr.splitlines()]
    overflow = said.pop(2)
    assert said == ["of the network", "assumed", "tifffile: of a log", "'a.tif': of a decoder"]
    assert "RuntimeWarning: overflow encountered" in overflow


WORKING = """
import sys
import numpy as np
from sobolevflow.cli import command, main
from sobolevflow.descent import progress_bar
from sobolevflow.errors import ModelError
from sobolevflow.kernels.decay import coefficients, decay

@command("work", "compile a kernel, and fail", "sobolevflow work", ())
def work(given):
    with progress_bar("king crab", 3) as advance:
        decay(np.float32(0.5), coefficients(np.float32))
        advance(1.0)
        raise ModelError("it failed")

sys.exit(main(["work"]))
"""


def test_what_fails_soon_is_one_line_where_kernels_had_to_be_compiled(tmp_path: Path) -> None:
    cache = tmp_path / "kernels"
    done = process("-c", WORKING, folder=tmp_path, NUMBA_CACHE_DIR=str(cache))
    assert (done.returncode, done.stderr) == (1, "sobolevflow: error: it failed\n")
    assert list(cache.rglob("*.nbc"))


def test_a_network_that_cannot_be_asked_says_no_notes(tmp_path: Path) -> None:
    """Its notes are known before it fails."""
    words = ("-m", "sobolevflow", "visualize", "builtin:shapes-vgg", "--layer", "block1_relu1")
    failing = process(*words, "--start", "no.npy", "-o", "a.png", folder=tmp_path)
    (line,) = failing.stderr.splitlines()
    assert line.startswith("sobolevflow: error: ")


def test_the_standard_error_is_left_alone_where_nobody_listens(capfd: pytest.CaptureFixture[str]) -> None:
    with asides.heard("a picture"):
        os.write(2, b"as it is")
    heard: list[str] = []
    with asides.listening(heard.append), asides.heard("a picture"):
        os.write(2, b"aside\n\r\x1b[2Kloading 3/7\n")
    os.write(2, b", again")
    with pytest.raises(ValueError, match="failed"), asides.listening(heard.append):
        _fail()
    assert capfd.readouterr().err == "as it is, again"
    assert heard == ["a picture: aside"]


def _fail() -> None:
    with asides.heard("a picture"):
        os.write(2, b"damage")
        raise ValueError("failed")
