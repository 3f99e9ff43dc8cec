"""The gradient of five networks: this project, PyTorch, onnx2torch, and onnxruntime's forward pass.

    python bench/gradients.py                # all of it, about half an hour on two cores
    python bench/gradients.py --only speed --networks squeezenet1_1
    python bench/gradients.py --only page    # docs/speed.md from the committed record

Candidates run alternately in one process, each timed call after a pause and one untimed call, so
that no runtime's spinning threads slow the next. Reported are medians, and medians of the ratios
within a round. Memory and the time to open are taken in processes of their own. Weights are
random: they do not matter here. Writes bench/results/gradients.json and the tables of docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from generated import Parts, Record, machine, merged, read_record, table, write_pages, write_record
from paths import DOCS, RESULTS
from timing import Call, every_round, median, ratio

import sobolevflow as sf
from sobolevflow.gradient.engine import Engine
from sobolevflow.onnxgrad import Value, differentiate, session_options
from sobolevflow.onnxgrad.normal_form import for_backward
from sobolevflow.onnxgrad.rules import elementwise, movement, normalization, windows

RECORD, PAGE = RESULTS / "gradients.json", DOCS / "speed.md"

THREADS, CLASS, SIZE = 2, 3, 224
NETWORKS = {
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "densenet121": "DenseNet121",
    "squeezenet1_1": "SqueezeNet 1.1",
    "mobilenet_v2": "MobileNetV2",
}
# at N = 1: at least so many times faster than the best PyTorch variant, at most so many forward passes
TARGETS = {
    "vgg19": (1.4, 2.1),
    "resnet50": (1.5, 2.2),
    "densenet121": (1.8, 2.5),
    "squeezenet1_1": (2.0, 3.0),
    "mobilenet_v2": (2.2, 3.0),
}
OURS, FORWARD = "sobolevflow", "onnxruntime forward"


# -- what is compared


def exported(name: str, folder: Path) -> tuple[Any, Path]:
    """The torch network and its ONNX file, whose batch size is open."""
    import torch

    from tests.support import torch_networks

    network = torch_networks.build(name)
    path = folder / f"{name}.onnx"
    if not path.exists():
        axes = {"image": {0: "N"}, "scores": {0: "N"}}
        names: dict[str, Any] = {"input_names": ["image"], "output_names": ["scores"], "dynamic_axes": axes}
        with torch_networks.quiet():
            torch.onnx.export(
                network, (torch.rand(1, 3, SIZE, SIZE),), str(path), dynamo=False, opset_version=17, **names
            )
    return network, path


def load(path: Path) -> sf.Network:
    return sf.load(path, preprocess="none", input_shape=(SIZE, SIZE), threads=THREADS)


def candidates(name: str, batch: int, folder: Path, compiled: bool) -> dict[str, Call]:
    """A call of no arguments for each candidate."""
    import onnxruntime as ort
    import torch

    torch.set_num_threads(THREADS)
    network, path = exported(name, folder)
    u = np.random.default_rng(0).random((batch, 3, SIZE, SIZE), np.float32)
    engine = Engine(load(path), sf.Class(CLASS), batch=batch)
    forward = ort.InferenceSession(path, session_options(THREADS), providers=["CPUExecutionProvider"])
    # a copy each: changing the layout of a network's weights, or compiling it, changes the network
    calls: dict[str, Call] = {
        OURS: lambda: engine(u),
        FORWARD: lambda: forward.run(None, {"image": u}),
        "PyTorch": torch_call(network, u),
        "PyTorch, channels last": torch_call(exported(name, folder)[0], u, channels_last=True),
        "onnx2torch": torch_call(converted(path), u),
    }
    if compiled:
        calls["torch.compile"] = torch_call(torch.compile(exported(name, folder)[0]), u)
    reference = calls["PyTorch"]()
    for label, call in calls.items():  # also compiles, packs and allocates
        found = call()
        if label == OURS:
            found = found[1]
        if label != FORWARD:
            error = np.linalg.norm(np.asarray(found) - reference) / np.linalg.norm(np.asarray(reference))
            # rectifiers near their kinks: in single precision VGG19's is 7 % off that in double
            assert error < 0.2, f"{name}: {label} has another gradient, {error:.1e} off"
    return calls


def converted(path: Path) -> Any:
    import onnx2torch

    return onnx2torch.convert(str(path)).eval().requires_grad_(False)


def torch_call(network: Any, u: np.ndarray, *, channels_last: bool = False) -> Call:
    """The input gradient by PyTorch, weights frozen."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    image = torch.from_numpy(u).to(memory_format=layout)

    def call() -> Any:
        x = image.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(x)[:, CLASS].sum(), x)
        return gradient.numpy()

    return call


# -- measuring


def speed(name: str, batch: int, folder: Path, rounds: int, compiled: bool) -> Record:
    seconds = every_round(candidates(name, batch, folder, compiled), rounds, pause=0.15)
    medians = {label: median(t) for label, t in seconds.items()}
    best = min((label for label in medians if label not in (OURS, FORWARD)), key=medians.__getitem__)
    row = {
        "network": name,
        "batch": batch,
        "milliseconds": {label: round(1e3 * t, 2) for label, t in medians.items()},
        "best_peer": best,
        "times_faster": round(ratio(seconds[best], seconds[OURS]), 2),
        "forward_passes": round(ratio(seconds[OURS], seconds[FORWARD]), 2),
    }
    print(row, flush=True)
    return row


# What each step of the work on speed gives: the gradient without it, over the gradient with it.
# Each is switched off by putting the plain form in its place.


def greater(y: Value, bound: float) -> Value:
    return y.builder.cast(y.builder.op("Greater", y, bound))


def less(y: Value, bound: float) -> Value:
    return y.builder.cast(y.builder.op("Less", y, bound))


def nothing(*_: Any) -> None:
    return None


def never(*_: Any) -> bool:
    return False


STEPS: dict[str, list[tuple[Any, str, Any]]] = {
    "masks by HardSigmoid, not Greater": [(elementwise, "above", greater), (elementwise, "below", less)],
    "pooling before the rectifier": [(for_backward, "_pool_before_relu", nothing)],
    "nested concatenations": [(for_backward, "_nest_concats", nothing)],
    "convolutions split where a concatenation was": [(movement, "_can_split", never)],
    "strided depthwise by zeros in between": [(windows, "_spreads", never)],
    "scaling in front of the mask": [(normalization, "_masked_product", nothing)],
    "doors into the blocked layout": [(sys.modules[differentiate.__module__], "open_doors", nothing)],
}


@contextmanager
def without(step: str) -> Iterator[None]:
    with ExitStack() as stack:
        for patch in STEPS[step]:
            stack.enter_context(mock.patch.object(*patch))
        yield


def steps(name: str, folder: Path, rounds: int) -> Record:
    path = exported(name, folder)[1]
    u = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    whole = Engine(load(path), sf.Class(CLASS))
    engines = {"": whole}
    for step in STEPS:
        with without(step):
            engines[step] = Engine(load(path), sf.Class(CLASS))
    seconds = every_round({label: partial(e, u) for label, e in engines.items()}, rounds, pause=0.05)
    row = {"network": name, "gain": {s: round(ratio(seconds[s], seconds[""]), 3) for s in STEPS}}
    print(row, flush=True)
    return row


# -- memory and opening, in processes of their own


def memory_and_opening(name: str, folder: Path) -> Record:
    exported(name, folder)
    row: Record = {"network": name}
    for what in ("sobolevflow", "pytorch", "forward"):
        runs = [in_own_process(what, name, folder) for _ in range(3)]
        row[what] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print(row, flush=True)
    return row


def in_own_process(what: str, name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what, "--networks", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(what: str, name: str, folder: Path) -> dict[str, float]:
    """Seconds until the first call can be made, and megabytes at the peak of some calls."""
    path = folder / f"{name}.onnx"
    u = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    if what == "pytorch":
        import torch

        torch.set_num_threads(THREADS)
        network, _ = exported(name, folder)
        start = time.perf_counter()
        call = torch_call(network, u)
    else:
        import onnx  # noqa: F401  (what is imported is no part of opening)
        import onnxruntime as ort

        start = time.perf_counter()
        if what == "forward":
            session = ort.InferenceSession(path, session_options(THREADS), providers=["CPUExecutionProvider"])
            call = lambda: session.run(None, {"image": u})  # noqa: E731
        else:
            engine = Engine(load(path), sf.Class(CLASS))
            call = lambda: engine(u)  # noqa: E731
    opened = time.perf_counter() - start
    for _ in range(3):
        call()
    return {"seconds_to_open": round(opened, 3), "peak_megabytes": peak_megabytes()}


def peak_megabytes() -> int:
    """Of this process alone; getrusage would count the memory of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


# -- the record and the page


def facts() -> Record:
    import torch

    return machine(THREADS, torch=torch.__version__)


def parts(record: Record) -> Parts:
    """The generated parts of docs/speed.md."""
    return {
        "speed": speed_table(record["speed"]),
        "steps": steps_table(record["steps"]),
        "opening": opening_table(record["opening"]),
        "machine": machine_line(record),
    }


def pages() -> dict[Path, Parts]:
    return {PAGE: parts(read_record(RECORD))}


def speed_table(rows: list[Record]) -> str:
    peers = ("PyTorch", "PyTorch, channels last", "torch.compile", "onnx2torch", FORWARD)
    heading = ["network", "N", "ours, ms", *peers, "times faster than the best", "forward passes"]
    return table(heading, *(speed_cells(row, peers) for row in rows))


def speed_cells(row: Record, peers: tuple[str, ...]) -> list[str]:
    t, name = row["milliseconds"], row["network"]
    least, most = TARGETS[name]
    aims = (f" (aim {least:g})", f" (aim {most:g})") if row["batch"] == 1 else ("", "")
    outcome = [
        f"{row[key]:.2f}{aim}" for key, aim in zip(("times_faster", "forward_passes"), aims, strict=True)
    ]
    times = [f"{t[label]:g}" if label in t else "" for label in (OURS, *peers)]
    return [NETWORKS[name], str(row["batch"]), *times, *outcome]


def steps_table(rows: list[Record]) -> str:
    gains = [[step, *(f"{row['gain'][step]:.2f}" for row in rows)] for step in STEPS]
    return table(["without", *(NETWORKS[row["network"]] for row in rows)], *gains)


def opening_table(rows: list[Record]) -> str:
    whats = {"sobolevflow": "ours", "forward": "forward alone", "pytorch": "PyTorch"}
    heading = [f"opening, s: {whats[w]}" for w in ("sobolevflow", "forward")]
    heading += [f"peak, MB: {what}" for what in whats.values()]
    body = [
        [
            NETWORKS[row["network"]],
            *(f"{row[w]['seconds_to_open']:.2f}" for w in ("sobolevflow", "forward")),
            *(f"{row[w]['peak_megabytes']:g}" for w in whats),
        ]
        for row in rows
    ]
    return table(["network", *heading], *body)


def machine_line(record: Record) -> str:
    at = record["machine"]
    v = at["versions"]
    return (
        f"{record['date']}, {at['processor']} ({at['instructions']}), {at['threads']} threads, onnxruntime "
        f"{v['onnxruntime']}, PyTorch {v['torch']}, Python {v['python']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=("speed", "steps", "opening", "page"))
    parser.add_argument("--compiled", action="store_true", help="torch.compile too: minutes a network")
    parser.add_argument("--folder", type=Path, help="where to keep the exported networks")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child, options.networks[0], options.folder)))
        return
    wanted = options.only or ("speed", "steps", "opening", "page")
    record = read_record(RECORD)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        measured: dict[str, Callable[[], list[Record]]] = {
            "speed": lambda: [
                speed(n, b, folder, options.rounds, options.compiled)
                for n in options.networks
                for b in options.batch
            ],
            "steps": lambda: [steps(n, folder, options.rounds) for n in options.networks],
            "opening": lambda: [memory_and_opening(n, folder) for n in options.networks],
        }
        for key, measure in measured.items():
            if key in wanted:
                rows = merged(record.get(key, []), measure(), "network", "batch")
                record |= {key: rows, "date": date.today().isoformat(), "machine": facts()}
    write_record(RECORD, record)
    if "page" in wanted:
        write_pages("gradients.py", pages())


if __name__ == "__main__":
    main()
