"""What a user does with a model, done with a mutant, in a process of its own that may die of it.

`Trials` starts such processes; run as a program, this file is one.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

FAILURES = ("bug", "crash", "timeout", "memory")
_MEMORY = 4 << 30  # bytes beyond what a process has when it is ready
_SECONDS = 30.0
_LARGEST = 2_000_000  # numbers in an image; what takes more is opened and looked at, but not run


@dataclass(frozen=True)
class Verdict:
    """How a mutant ended.

    Attributes
    ----------
    seed : int
    start : str
        The model that it comes from.
    done : list of str
        The mutations.
    how : {"result", "refused", "bug", "crash", "timeout", "memory"}
    said : dict
        What was raised, by what was asked for.
    """

    seed: int
    start: str
    done: list[str]
    how: str
    said: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        said = "; ".join(f"{k}: {v}" for k, v in self.said.items())
        return f"seed {self.seed}: {self.how} of {self.start} by {', '.join(self.done)}. {said}"


def tried(seed: int) -> Verdict:
    """The mutant of a seed, worked through in this process."""
    from tests.support.model_mutants import mutant

    made = mutant(seed)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.onnx")
        path.write_bytes(made.data)
        for name, content in made.beside.items():
            Path(folder, name).write_bytes(content)
        how, said = _work_through(path, made.start, seed)
    return Verdict(seed, made.start, list(made.done), how, said)


def _work_through(path: Path, start: str, seed: int) -> tuple[str, dict[str, str]]:
    import sobolevflow as sf
    from sobolevflow.errors import SobolevflowError

    said: dict[str, str] = {}
    worst = ["result"]

    def ask(what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except SobolevflowError as error:
            said[what] = f"{type(error).__name__}: {error}"[:400]
            worst.append("refused")
        except MemoryError as error:
            said[what] = f"MemoryError: {error}"
            worst.append("memory")
        except Exception as error:  # the very thing that is looked for
            said[what] = _where(error)
            worst.append("bug")
        return None

    source: Any = path if seed % 2 else path.read_bytes()
    if start == "generator":
        net = ask("compose", lambda: sf.compose(source, "builtin:shapes-vgg", threads=1))
    else:
        net = ask("load", lambda: sf.load(source, threads=1))
    if net is not None:
        _look_at(net, ask, seed)
    return next((how for how in (*FAILURES, "refused", "result") if how in worst), "result"), said


def _look_at(net: Any, ask: Callable[[str, Callable[[], Any]], Any], seed: int) -> None:
    import numpy as np

    import sobolevflow as sf

    layers = ask("layers", lambda: net.layers) or []
    ask("notes", net.notes)
    ask("facts", net.to_dict)
    ask("text", lambda: repr(net))
    ask("shapes", lambda: net.shapes)
    if np.prod([float(size) for size in net.input_shape]) > _LARGEST:
        return
    u = np.random.default_rng(0).random((1, *net.input_shape), dtype=np.float32)
    ask("scores", lambda: net.scores(u))
    ask("class", lambda: sf.value_and_grad(net, sf.Class(0))(u))
    if layers:
        layer = layers[seed % len(layers)].name
        ask("channel", lambda: sf.value_and_grad(net, sf.Channel(layer, 0))(u))
    ask("grad_cam", lambda: sf.attribution.grad_cam(net, sf.Class(0), u))
    ask("file", lambda: sf.gradient_model(net, sf.Class(0)).SerializeToString())


def _where(error: Exception) -> str:
    """An error with the lines of this package that it passed through."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "sobolevflow" in code.co_filename:
            lines.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:200]} at {' > '.join(lines[-4:])}"


class Trials:
    """Worker processes that try mutants, are watched, and replaced when they die.

    Parameters
    ----------
    workers : int
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, seeds: Iterable[int]) -> Iterator[Verdict]:
        """The verdicts, as they come."""
        waiting = iter(seeds)
        with selectors.DefaultSelector() as selector:
            for _ in range(self._workers):
                self._next(selector, _Worker(), waiting)
            while selector.get_map():
                for key, _ in selector.select(timeout=0.5):
                    worker: _Worker = key.data
                    line = worker.read()
                    selector.unregister(key.fileobj)
                    if line:
                        yield Verdict(**json.loads(line))
                    else:
                        yield worker.died()
                        worker = _Worker()
                    self._next(selector, worker, waiting)
                for key in list(selector.get_map().values()):
                    worker = key.data
                    if time.monotonic() > worker.deadline:
                        selector.unregister(key.fileobj)
                        yield worker.given_up()
                        self._next(selector, _Worker(), waiting)

    @staticmethod
    def _next(selector: selectors.BaseSelector, worker: _Worker, waiting: Iterator[int]) -> None:
        seed = next(waiting, None)
        if seed is None:
            worker.end()
        else:
            worker.give(seed)
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]


class _Worker:
    """A process that tries one mutant after another, and the one that it is at."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.model_trial"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.seed, self.deadline = 0, 0.0
        self.read()  # that it is ready

    def give(self, seed: int) -> None:
        assert self.process.stdin is not None
        self.seed, self.deadline = seed, time.monotonic() + _SECONDS
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def died(self) -> Verdict:
        return self._failed("crash", f"exit status {self.process.wait()}")

    def given_up(self) -> Verdict:
        self.process.kill()
        self.process.wait()
        return self._failed("timeout", f"after {_SECONDS:g} s")

    def _failed(self, how: str, why: str) -> Verdict:
        return Verdict(self.seed, "a model", [], how, {"process": why})

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _serve() -> None:
    """Try the seeds that come in, one a line."""
    import sobolevflow as sf

    sf.load("builtin:shapes-vgg")  # what has to be imported is, before memory is limited
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    out = os.fdopen(os.dup(1), "w")  # what libraries print must not come between
    os.dup2(2, 1)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(tried(int(line)))), file=out, flush=True)


if __name__ == "__main__":
    _serve()
