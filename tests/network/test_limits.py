"""Models that ask for endless time or memory are refused by number, or looked at by another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import sobolevflow as sf
from sobolevflow.errors import InputError, LimitError, ModelError
from tests.support import hangs
from tests.support.command_line import run
from tests.support.hangs import network, node
from tests.support.paths import ROOT
from tests.support.small_networks import generator, small_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are those of Unix")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, list[Any]]]:
    """What came of each model, and its exit status, seconds and megabytes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.hangs"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (said, rest) for said, (name, *rest) in zip(lines[::2], lines[1::2], strict=True)}


@pytest.mark.parametrize("name", hangs.CASES)
def test_it_ends_soon_and_says_what_is_too_much(
    name: str, outcomes: dict[str, tuple[str, list[Any]]]
) -> None:
    said, (status, seconds, megabytes) = outcomes[name]
    _, _, named = hangs.CASES[name]
    assert said.startswith(("LimitError: ", "ModelError: "))
    assert named in said
    assert status == 0
    assert seconds < 5
    assert megabytes < 1000


def test_a_limit_can_be_raised_by_what_its_message_says() -> None:
    model = _folding(100_000)
    few = sf.Limits(folded_bytes=200_000)
    with pytest.raises(LimitError, match=r"Limits\(folded_bytes=(\d|_)+\)") as refused:
        sf.load(model, limits=few).scores(_image())
    said = str(refused.value).split("folded_bytes=")[1].split(")")[0]
    raised = sf.Limits(folded_bytes=int(said))
    np.testing.assert_allclose(
        sf.load(model, limits=raised).scores(_image()), sf.load(model).scores(_image())
    )


def test_a_model_may_have_so_many_nodes() -> None:
    model = small_model()
    sf.load(model, limits=sf.Limits(nodes=9))
    with pytest.raises(LimitError, match="the model has 9 nodes, and 8 are allowed"):
        sf.load(model, limits=sf.Limits(nodes=8))


def test_loops_may_run_so_many_nodes() -> None:
    model = hangs.loop_of_constants()
    next(t for t in model.graph.initializer if t.name == "count").CopyFrom(
        onnx.numpy_helper.from_array(np.array(1000), "count")
    )
    assert sf.load(model, limits=sf.Limits(iterations=2000)).scores(_image()).shape == (1, 4)
    with pytest.raises(LimitError, match="the Loop 'add' runs 2000 nodes, and 1999 are allowed"):
        sf.load(model, limits=sf.Limits(iterations=1999)).scores(_image())


def test_memory_of_the_network_is_that_of_the_machine_unless_said() -> None:
    net = sf.load(small_model(), limits=sf.Limits(memory=1000))
    with pytest.raises(LimitError, match=r"needs about .* of memory for an image, with 'conv1' of 1x4x8x10"):
        net.scores(np.zeros((1, 3, 8, 10), np.float32))


def test_layers_before_what_is_too_large_can_be_looked_at() -> None:
    net = sf.load(hangs.huge_resize())
    having = {info.name for info in net.layers if info.differentiable}
    assert "conv" in having
    assert "add" not in having
    assert net.features(_image(), ["conv"])[0].shape == (1, 4, 6, 6)


@pytest.mark.parametrize("value", [0, -1, "many", True, None])
def test_a_limit_is_a_positive_number(value: Any) -> None:
    with pytest.raises(InputError, match="nodes is"):
        sf.Limits(nodes=value)


def test_long_models_take_time_in_proportion() -> None:
    """A Concat, and batch normalizations, of which each once looked at all others."""
    nodes = [node("Relu", ["conv"], [f"r{k}"]) for k in range(1200)]
    nodes.append(node("Concat", [f"r{k}" for k in range(1200)], ["add"], axis=1))
    net = sf.load(network(nodes, {}))
    assert net.shapes["add"] == (1, 4800, 6, 6)
    started = time.process_time()
    assert all(info.differentiable for info in net.layers if info.name.startswith("r"))
    assert time.process_time() - started < 8


# -- in a process of its own


def test_a_good_model_is_opened_as_always() -> None:
    image = np.random.default_rng(0).random((1, 3, 8, 10), np.float32)
    model = small_model()
    expected = sf.load(model).scores(image)
    for source in (model, model.SerializeToString()):
        np.testing.assert_array_equal(sf.load(source, isolate=True).scores(image), expected)


def test_what_is_wrong_with_a_model_is_said_as_always() -> None:
    with pytest.raises(ModelError, match="the given bytes: not an ONNX file"):
        sf.load(b"nonsense", isolate=True)
    with pytest.raises(LimitError, match="folded_bytes"):
        sf.load(hangs.expand(), isolate=True)  # which is opened without, and fails when it computes


def test_a_process_that_needs_too_much_memory_dies_alone() -> None:
    """Two gigabytes, which this process would have."""
    limits = sf.Limits(process_bytes=1 << 30, folded_bytes=10**10, operations=10**11)
    with pytest.raises(ModelError, match=r"needed more than .*process_bytes="):
        sf.load(_folding(500_000_000), isolate=True, limits=limits)


def test_a_process_that_takes_too_long_is_ended() -> None:
    started = time.perf_counter()
    with pytest.raises(LimitError, match=r"took longer than 3 s.*process_seconds=30"):
        sf.load(hangs.loop_by_a_condition(), isolate=True, limits=sf.Limits(process_seconds=3))
    assert time.perf_counter() - started < 10


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_process_that_is_killed_is_no_end_of_this_one() -> None:
    found: list[BaseException] = []

    def load() -> None:
        try:
            sf.load(hangs.loop_by_a_condition(), isolate=True)
        except ModelError as error:
            found.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    child = None
    while child is None and thread.is_alive():
        child = next((pid for pid in _children() if "isolated" in _command(pid)), None)
        time.sleep(0.05)
    assert child is not None
    os.kill(child, signal.SIGKILL)
    thread.join(30)
    assert "died (SIGKILL, as a system without memory does)" in str(found[0])


def _children() -> list[int]:
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_script_needs_no_guard_of_its_main_part(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(small_model().SerializeToString())
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken from the folder')")  # not the process's
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "import sobolevflow as sf\nprint(len(sf.load('model.onnx', isolate=True).layers), 'layers')\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("9 layers\n", "")


def test_a_generator_is_looked_at_with_its_network() -> None:
    net = sf.compose(generator(), small_model(), isolate=True)
    assert net.latent
    with pytest.raises(ModelError, match="not an ONNX file"):
        sf.compose(b"nonsense", small_model(), isolate=True)


def test_the_command_line_has_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(small_model().SerializeToString())
    assert run("inspect", path, "--isolate", "--limit", "nodes=9") == 0
    assert run("inspect", path, "--isolate", "--limit", "nodes=8") == 1
    assert "the model has 9 nodes, and 8 are allowed" in capsys.readouterr().err
    assert run("inspect", path, "--limit", "node=8") == 2
    assert "there is no limit 'node'" in capsys.readouterr().err
    assert run("inspect", path, "--limit", "nodes") == 2


def _folding(count: int) -> onnx.ModelProto:
    """A sum of so many numbers, which are computed."""
    nodes = [node("Expand", ["one", "shape"], ["ones"]), node("ReduceMean", ["ones"], ["add"], keepdims=0)]
    return network(nodes, {"one": np.float32(1), "shape": np.array([count])})


def _image() -> np.ndarray:
    return np.full((1, 3, 8, 8), 0.5, np.float32)
