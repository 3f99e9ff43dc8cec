"""A file of a stranger, read in a process that may die: what came of it, and whatever else was said."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import select
import signal
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sobolevflow.errors import AssumptionWarning, SobolevflowError
from sobolevflow.network.labels import read_labels
from sobolevflow.network.preprocess import Preprocess
from sobolevflow.pictures import read_image, read_planes
from tests.support.picture_mutants import LABELS, PREPROCESS, mutant

MEMORY, SECONDS = 4 * 2**30, 30

# Read, or refused by an error of ours; or so while libtiff wrote to the standard error of the process by
# itself, which nothing in Python can keep it from.
READ, REFUSED, ASIDE = "read", "refused", "libtiff spoke"
GOOD = (READ, REFUSED, ASIDE)


_OF_LIBTIFF = re.compile(r"(TIFF|LZW|LZMA|ZIP|Fax\d?|JPEG|PackBits|tempfile\.tif|_TIFF)\w*: ")


@dataclass(frozen=True)
class Verdict:
    """What came of a mutant: it was read, or refused by an error of ours; all else is a failure."""

    seed: int
    original: str
    came: str
    said: str

    @property
    def is_good(self) -> bool:
        return self.came in GOOD


def tried(seed: int, folder: Path) -> Verdict:
    """The verdict on the mutant of a seed, written into a folder and read by a child of this process."""
    original, of, ending, data = mutant(seed)
    path = folder / f"{seed}{ending}"
    path.write_bytes(data)
    try:
        came, said = _in_child(seed, of, path)
    finally:
        path.unlink()
    return Verdict(seed, original, came, said)


def _in_child(seed: int, of: str, path: Path) -> tuple[str, str]:
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as spoken:
        child = os.fork()
        if child == 0:
            _child(seed, of, path, writing, spoken.fileno())
        os.close(writing)
        status = _waited_for(child, reading)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        spoken.seek(0)
        also = spoken.read(2000).decode(errors="replace")
    if status != 0 or not told:
        return "died", f"status {status} {also}"
    came, said = json.loads(told)
    return (ASIDE if _OF_LIBTIFF.match(also) else "spoke", also) if also and came in GOOD else (came, said)


def _waited_for(child: int, reading: int) -> int:
    """The exit code of a child, by a signal the negative number of that; one that takes too long is ended."""
    end = time.monotonic() + 4 * SECONDS  # of a machine that does other work as well
    select.select([reading], [], [], 4 * SECONDS)
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _child(seed: int, of: str, path: Path, writing: int, spoken: int) -> None:
    """What the child does, to its end."""
    try:
        os.dup2(spoken, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        os.write(writing, json.dumps(_outcome(seed, of, path)).encode())
    finally:
        os._exit(0)


def _outcome(seed: int, of: str, path: Path) -> tuple[str, str]:
    others: list[str] = []

    def show(message: Warning | str, category: type[Warning], file: str, *where: Any, **more: Any) -> None:
        of_a_decoder = any(name in Path(file).parts for name in ("PIL", "tifffile"))  # about the file
        if not (of_a_decoder or issubclass(category, AssumptionWarning)):
            others.append(f"{category.__name__}: {message}")

    warnings.simplefilter("always")
    warnings.showwarning = show  # type: ignore[assignment]
    try:
        _read(random.Random(seed), of, path)
        came = READ, ""
    except SobolevflowError as error:
        came = REFUSED, str(error)[:300]
        if "\n" in str(error):
            came = "several lines", str(error)[:1000]
    except BaseException:  # all others are what is looked for
        came = "raised", traceback.format_exc()[-3000:]
    return ("spoke", "; ".join(others)[:2000]) if others and came[0] in GOOD else came


def _read(rng: random.Random, of: str, path: Path) -> None:
    """Read it as what it was, in one of the ways in which that can be asked for; check what is given."""
    if of == LABELS:
        assert all(isinstance(name, str) for name in read_labels(path).names)
    elif of == PREPROCESS:
        assert np.isfinite(Preprocess.of(path).matrix_and_bias(3)[0]).all()
    elif rng.random() < 0.3:
        found = read_planes(path, range=rng.choice((None, "auto")), page=rng.choice((None, None, 1)))
        assert found.values.dtype == np.float32
        assert np.isfinite(found.values).all()
    else:
        size, channels = rng.choice((None, None, (32, 24))), rng.choice((1, 3, 3, 3, 3, 4))
        how: dict[str, Any] = {
            "range": rng.choice((None, None, "auto")),
            "page": rng.choice((*6 * (None,), 1)),
        }
        u = read_image(path, size, channels, **how)
        assert u.shape == (channels, *(size or u.shape[1:]))
        assert u.dtype == np.float32
        assert np.isfinite(u).all()
        assert u.min() >= 0
        assert u.max() <= 1
