"""A look at a model by another process, which may die, before this one opens it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx

from .. import errors
from ..errors import InputError, ModelError, SobolevflowError
from ..onnxgrad import Limits, in_words, refused

_TIMES_THE_FILE = 10  # as a message, as weights, packed, and in single precision
NO_MEMORY = ("MemoryError", "bad_alloc", "bad allocation", "Cannot allocate memory", "Failed to allocate")
"""What says that there is none, in the words of those who ask for it."""

_LONGEST = 300  # characters of what a process said last


def look_apart(how: str, sources: tuple[Any, ...], limits: Limits, options: dict[str, Any]) -> None:
    """Open a model in a process of its own, which ends; return if that goes well.

    Parameters
    ----------
    how : {"load", "compose"}
        What opens it.
    sources : tuple of path, bytes and onnx.ModelProto
        Its positional arguments.
    limits : Limits
        `process_bytes` and `process_seconds` for the process; all others for what it does.
    options : dict
        Its keyword arguments.

    Raises
    ------
    ModelError
        The process died, or took too much time or memory; says which.
    SobolevflowError
        What opening the model raised there.
    InputError
        Something cannot be sent to another process.
    """
    messages = tuple(
        source.SerializeToString() if isinstance(source, onnx.ModelProto) else source for source in sources
    )
    room = limits.process_bytes + _TIMES_THE_FILE * sum(map(_size, messages))
    request = _sent((how, messages, {**options, "limits": limits}))
    command = [sys.executable, "-P", "-W", "ignore", "-m", f"{__package__}.isolated"]
    try:
        done = subprocess.run(
            [*command, str(room), str(limits.process_seconds)],
            input=request,
            capture_output=True,
            timeout=limits.process_seconds,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        what = f"{_LOOKED} took longer than {limits.process_seconds:g} s"
        raise refused(what, "process_seconds", 10 * limits.process_seconds, spent=True) from None
    except OSError as error:
        raise ModelError(
            f"no process can be started to look at the model ({error}); isolate=False opens it without"
        ) from None
    _read(done, room)


_LOOKED = "the process that looked at the model first"


def _size(source: Any) -> int:
    """Bytes of a model; of a file, with all that lies beside it and may hold its weights."""
    if isinstance(source, bytes):
        return len(source)
    if not isinstance(source, (str, os.PathLike)):
        return 0
    path = Path(source)
    if not os.path.isfile(path):
        return 0
    beside = (each for each in path.parent.glob(f"{path.stem}*") if each.is_file())
    return sum(each.stat().st_size for each in {path, *beside})


def _sent(request: Any) -> bytes:
    try:
        return pickle.dumps(request)
    except Exception as error:  # whatever the values of a caller raise
        raise InputError(
            f"with isolate=True what is given has to be sent to another process, which fails: {error}"
        ) from None


def _read(done: subprocess.CompletedProcess[bytes], room: int) -> None:
    """Raise what a process that has ended tells; its words are read as data, and nothing of them is run."""
    last = done.stdout.decode(errors="replace").strip().splitlines()[-1:]
    try:
        answer = json.loads(last[0]) if last and not done.returncode else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise _died(done, room)
    if answer.get("error"):
        kind = getattr(errors, str(answer["error"]), ModelError)
        known = isinstance(kind, type) and issubclass(kind, SobolevflowError)
        raise (kind if known else ModelError)(str(answer.get("message")))


def _died(done: subprocess.CompletedProcess[bytes], room: int) -> ModelError:
    said = done.stderr.decode(errors="replace")
    if any(word in said for word in NO_MEMORY):
        return refused(f"{_LOOKED} needed more than {in_words(room)}", "process_bytes", 10 * room, spent=True)
    if done.returncode == -getattr(signal, "SIGALRM", 0):
        return ModelError(f"{_LOOKED} took too long")
    code = done.returncode
    how = f"exit code {code}" if code >= 0 else _signal(-code)
    why = ", as a system without memory does" if code == -getattr(signal, "SIGKILL", 0) else ""
    words = " ".join(said.split())[-_LONGEST:]
    return ModelError(
        f"{_LOOKED} died ({how}{why}); opening it here would do the same" + (f": {words}" if words else "")
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
