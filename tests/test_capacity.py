"""What cannot fit into the memory of the machine is refused at once, with the estimate; what can is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow import capacity, experiments, gradient, models
from sobolevflow.capacity import check_fits, machine_bytes
from sobolevflow.errors import InputError, ModelError
from sobolevflow.onnxgrad import in_words
from tests.support.argument_cases import image, tiny_network
from tests.support.argument_trial import limited
from tests.support.small_networks import small_model

BILLION = 10**9
ESTIMATE = r"at least [\d.]+ [GTP]B of memory, and this machine has 24 GB; |would take some [\d.]+ TiB"


def visualized(**given: Any) -> sf.Result:
    return sf.visualize(tiny_network(), sf.Class(0), progress=False, **given)


def of_any_size(height: int, width: int) -> sf.Network:
    return sf.load(small_model(size=(3, "H", "W")), input_shape=(height, width))


REFUSED: dict[str, Callable[[], object]] = {
    "batch": lambda: visualized(batch=BILLION),
    "canvas": lambda: visualized(canvas=(10**6, 10**6)),
    "batch and canvas": lambda: visualized(batch=10**5, canvas=(10**4, 10**4)),
    "octaves": lambda: visualized(octaves=[1.0, 50000.0]),
    "octaves written out": lambda: visualized(octaves=[sf.Octave(1e6, 1)]),
    "history": lambda: visualized(steps=10**12),
    "snapshots": lambda: visualized(steps=10**12, seconds=1.0, snapshots=10**12),
    "snapshots of a batch": lambda: visualized(steps=10**8, seconds=1.0, snapshots=10**8, batch=1000),
    "inversion": lambda: sf.invert(tiny_network(), sf.Inversion("relu", image()), batch=BILLION),
    "input": lambda: sf.visualize(of_any_size(37_000, 37_000), sf.Layer("conv1"), progress=False),
    "check": lambda: sf.check_gradient(of_any_size(37_000, 37_000), sf.Layer("conv1")),
    "engine": lambda: gradient.Engine(tiny_network(), sf.Class(0), batch=BILLION),
    "quadrature": lambda: sf.attribution.integrated_gradients(
        tiny_network(), sf.Class(0), image(), steps=10**6
    ),
    "start": lambda: visualized(start=np.broadcast_to(np.float32(0.5), (3, 10**6, 10**6))),
    "mask": lambda: visualized(mask=np.broadcast_to(np.float32(1), (10**6, 10**6))),
    "direction": lambda: visualized_direction(np.broadcast_to(np.float32(1), (10**6, 10**6))),
    "drawing": lambda: models.draw("spiral", np.random.default_rng(0), 10**6),
    "benchmark": lambda: experiments.benchmark_filters(shapes=[(10**6, 10**6)]),
}


def visualized_direction(vector: Any) -> sf.Result:
    return sf.visualize(tiny_network(), sf.Direction("relu", vector), progress=False)


@pytest.fixture
def usual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 24 GB, whatever this one has, and whatever a test is allowed of it."""
    monkeypatch.setattr(capacity, "machine_bytes", lambda: 24 * 10**9)


@pytest.mark.usefixtures("usual_machine")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_fit_is_refused_at_once_with_the_estimate(name: str) -> None:
    tiny_network()
    started = time.process_time()
    with limited(), pytest.raises(InputError, match=ESTIMATE):
        REFUSED[name]()
    assert time.process_time() - started < 2


@pytest.mark.usefixtures("usual_machine")
def test_a_model_for_a_batch_that_none_in_memory_can_hold_is_refused_at_once() -> None:
    with limited(), pytest.raises(ModelError, match=r"8\.0 GB of values"):
        sf.gradient_model(tiny_network(), sf.Class(0), batch=BILLION)


@pytest.mark.usefixtures("usual_machine")
def test_a_model_with_targets_is_refused_before_they_are_repeated(tmp_path: Path) -> None:
    inversion = sf.Inversion("relu", image())
    with limited(), pytest.raises(InputError, match=ESTIMATE):
        sf.gradient_model(tiny_network(), inversion, batch=BILLION, path=tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "given",
    [
        {"steps": 10**9, "seconds": 0.01},
        {"steps": 10**15, "callback": lambda info: True},
        {"steps": 10**12, "seconds": 0.01, "snapshots": [10**12]},
        {"octaves": 3, "steps": 10**9, "seconds": 0.01},
    ],
    ids=lambda given: " ".join(given),
)
def test_what_takes_long_alone_is_begun_and_may_end_early(given: dict[str, Any]) -> None:
    with limited():
        assert len(visualized(**given).history) < 10**5


def test_a_run_is_refused_only_where_the_machine_has_less_than_it_is_certain_to_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, shape = 500, tiny_network().input_shape
    held = 3 * 4 * batch * int(np.prod(shape))
    monkeypatch.setattr(capacity, "_SMALL", 0)
    monkeypatch.setattr(capacity, "machine_bytes", lambda: held - 1)
    with pytest.raises(InputError, match=f"a descent to {batch} images on a canvas of 4x5 pixels"):
        visualized(batch=batch, steps=1)
    monkeypatch.setattr(capacity, "machine_bytes", lambda: 100 * held)
    assert visualized(batch=batch, steps=1).u.shape == (batch, *shape)


def test_the_tensors_of_a_network_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images and gradient fit, what is alive between them does not."""
    monkeypatch.setattr(capacity, "_SMALL", 0)
    monkeypatch.setattr(capacity, "machine_bytes", lambda: 2 * 4 * 1000 * int(np.prod((3, 8, 10))) + 1)
    with pytest.raises(InputError, match="a batch of 1000 images on its way through the network"):
        gradient.Engine(sf.load(small_model()), sf.Layer("conv1"), batch=1000)


def test_bytes_are_told_in_words() -> None:
    assert in_words(0) == "0 bytes"
    assert in_words(999) == "999 bytes"
    assert in_words(1_500_000_000) == "1.5 GB"
    assert in_words(2.4e12) == "2.4 TB"
    assert in_words(10**400) == "more than 1000 PB"


def test_the_machine_has_some_memory_and_what_it_has_fits() -> None:
    there = machine_bytes()
    assert 1 << 28 < there < 1 << 50
    check_fits(there, "all of it", "use it")
    with pytest.raises(InputError, match="more than all needs at least"):
        check_fits(there + 1, "more than all", "use less")


def test_a_limit_on_the_process_counts() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 40 if soft == resource.RLIM_INFINITY else soft, hard))
    try:
        assert machine_bytes() <= 1 << 40
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
