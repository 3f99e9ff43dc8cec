"""A batch spread over several devices, each with a process of its own."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.cli.main import main
from sobolevflow.descent import several
from sobolevflow.descent.rescue import DescentError
from sobolevflow.descent.settings import Settings
from sobolevflow.devices import devices_of
from sobolevflow.devices.device import Device
from sobolevflow.errors import DeviceError, GradientError, InputError, RuntimeMissingError
from sobolevflow.network.network import Network
from sobolevflow.results.result import Result
from tests.support.small_networks import SIZE, images, small_model

TWO = "cpu,cpu"


@pytest.fixture
def net() -> Network:
    return sf.load(small_model(), preprocess="torch")


def run(net: Network, objective: Any, device: Any = TWO, **given: Any) -> Result:
    return sf.visualize(net, objective, device=device, **{"steps": 4, "progress": False, **given})


def kills_itself(g: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def loses_the_last(g: Any) -> Any:
    """A filter that fails for the share of one image."""
    if len(g) == 1:
        raise DeviceError("the second device is gone")
    return g


@pytest.mark.parametrize(
    ("batch", "devices", "expected"),
    [(4, 2, [2, 2]), (5, 2, [2, 3]), (1, 3, [1]), (7, 3, [2, 2, 3]), (3, 3, [1, 1, 1])],
)
def test_shares_are_equal_to_one_and_cover_the_batch(batch: int, devices: int, expected: list[int]) -> None:
    found = several.shares(batch, devices)
    assert [s.stop - s.start for s in found] == expected
    assert [i for s in found for i in range(batch)[s]] == list(range(batch))


def test_devices_in_one_string_or_in_a_list() -> None:
    assert devices_of("cuda:0,cuda:1") == [Device("cuda"), Device("cuda:1")]
    assert devices_of(["cpu", Device("cuda")]) == [Device("cpu"), Device("cuda")]
    assert devices_of(Device("cuda", tf32=True)) == [Device("cuda", tf32=True)]
    with pytest.raises(InputError, match="empty list"):
        devices_of([])


def test_the_images_are_those_of_one_device(net: Network) -> None:
    objective = sf.Class([1, 4, 2])
    given: dict[str, Any] = {"snapshots": 2, "seed": 5, "jitter": 2}
    expected, found = (run(net, objective, device, **given) for device in ("cpu", TWO))
    np.testing.assert_allclose(found.u, expected.u, atol=1e-5)
    assert found.value is not None
    np.testing.assert_allclose(found.value, np.asarray(expected.value), rtol=1e-4)
    for name in ("value", "mean_abs_gradient", "rms_step", "tau"):
        np.testing.assert_allclose(
            getattr(found.history, name), getattr(expected.history, name), rtol=1e-3, atol=1e-6
        )
    assert found.snapshots.keys() == expected.snapshots.keys()
    assert found.snapshots[2].shape == expected.snapshots[2].shape
    assert found.stopped_by == "steps"
    manifest = json.loads(found.manifest_json())
    assert manifest["parameters"]["device"] == ["cpu", "cpu"]
    assert manifest["parameters"]["batch"] == 3
    assert manifest["objective"] == expected.manifest["objective"]
    assert manifest["outcome"]["shape"] == [3, *SIZE]


def test_targets_and_starts_are_those_of_their_images(net: Network) -> None:
    start = images(3, seed=2)
    objective = sf.Inversion("conv2", images(3, seed=9))
    given: dict[str, Any] = {"steps": 3, "start": start, "progress": False}
    expected, found = (sf.invert(net, objective, device=device, **given) for device in ("cpu", TWO))
    np.testing.assert_allclose(found.u, expected.u, atol=1e-5)


def test_total_variation_reports_the_worst_of_all(net: Network) -> None:
    given: dict[str, Any] = {"scheme": sf.proximal_tv(0.05), "batch": 2}
    expected, found = (run(net, sf.Class(1), device, **given) for device in ("cpu", TWO))
    assert found.history.tv_iterations is not None
    np.testing.assert_array_equal(found.history.tv_iterations, np.asarray(expected.history.tv_iterations))


def test_what_cannot_be_spread(net: Network) -> None:
    with pytest.raises(InputError, match="compares the images of a batch; give it a single device"):
        run(net, sf.Class([0, 1]) + 0.1 * sf.Diversity("conv1"), batch=2)
    with pytest.raises(InputError, match="callback is told of the steps of one device"):
        run(net, sf.Class([0, 1]), callback=lambda info: None)
    with pytest.raises(InputError, match=r"cannot be handed to the process.*top of a module"):
        run(net, sf.Class([0, 1]), scheme=sf.fluid(lambda g: g))


def test_an_error_names_its_images_and_device(net: Network) -> None:
    with pytest.raises(RuntimeMissingError, match=r"Images 1 to 1, device 'coreml': .*CoreMLExecution"):
        run(net, sf.Class([0, 1]), "cpu,coreml")


def test_a_part_that_fails_brings_what_it_had(net: Network) -> None:
    with pytest.raises(DeviceError, match="Images 0 to 0, device 'cpu': the second device is gone"):
        run(net, sf.Class([0, 1, 2]), scheme=sf.fluid(loses_the_last))


class OverflowsLater:
    """A filter that fails for the share of one image, at its third call."""

    calls = 0

    def __call__(self, g: Any) -> Any:
        self.calls += 1
        if len(g) == 1 and self.calls == 3:
            raise GradientError("an overflow")
        return g


def test_a_descent_that_fails_in_its_process_brings_what_it_had(net: Network) -> None:
    with pytest.raises(DescentError, match="Images 0 to 0, device 'cpu': Step 3: an overflow") as caught:
        run(net, sf.Class([0, 1, 2]), scheme=sf.fluid(OverflowsLater()))
    assert caught.value.result is not None
    assert len(caught.value.result.history) == 2


def test_a_process_that_is_killed(net: Network) -> None:
    with pytest.raises(DeviceError, match=r"device 'cpu': its process ended by itself \(code -9\)"):
        run(net, sf.Class([0, 1]), scheme=sf.fluid(kills_itself))


class Line:
    """The end of a pipe, for a part that runs in this process, which says after some steps that it stop."""

    def __init__(self, stop_after: int) -> None:
        self.sent: list[Any] = []
        self.left = stop_after

    def send(self, what: Any) -> None:
        self.sent.append(what)

    def poll(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_an_interrupted_part_sends_what_it_has(net: Network) -> None:
    line: Any = Line(stop_after=9)
    settings = Settings(scheme=sf.gradient_descent(), steps=40, batch=3)
    several._descend_to_part(line, net, sf.Class([0, 1, 2]), settings, slice(1, 3))
    assert [kind for kind, _, _ in line.sent] == ["step", "result"]
    result = line.sent[-1][1]
    assert result.interrupted
    assert len(result.history) == 9
    assert result.manifest["objective"]["indices"]["class"] == [1, 2]


def test_histories_end_with_the_first_that_was_interrupted(net: Network) -> None:
    a, b = (run(net, sf.Class(1), "cpu", steps=steps) for steps in (3, 5))
    joined = several._joined_history([a.history, b.history])
    assert joined.value.shape == (3, 2)
    np.testing.assert_array_equal(joined.value[:, 1], b.history.value[:3, 0])


def test_a_descent_that_fails_in_a_process_keeps_its_result() -> None:
    error = DescentError("zero everywhere", None)
    part: Any = several._Part(slice(2, 4), type("P", (), {"name": "cuda:1"}), None, error=error)  # type: ignore[arg-type]
    named = several._named(part)
    assert isinstance(named, DescentError)
    assert str(named) == "Images 2 to 3, device 'cuda:1': zero everywhere"


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.png"
    asked = ["--class", "0", "--batch", "2", "--steps", "2", "--device", TWO, "--quiet", "-o", str(out)]
    assert main(["visualize", "builtin:shapes-vgg", *asked]) == 0
    manifest = json.loads((tmp_path / "a.manifest.json").read_text())
    assert manifest["parameters"]["device"] == ["cpu", "cpu"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.manifest.json", "a.png"]
