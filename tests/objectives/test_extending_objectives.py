"""An objective from outside the package: entered under a name, used in Python and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.cli.main import main
from sobolevflow.named import forget, named
from sobolevflow.network import Network
from sobolevflow.objectives import Emitter, Leaf, of_one_layer, spelled, unit
from sobolevflow.onnxgrad import Value
from tests.support.small_networks import images, small_model

VGG = "builtin:shapes-vgg"


@dataclass(frozen=True)
class Difference(Leaf):
    """Mean of one channel of a layer (N, C, H, W) minus that of another."""

    layer: str
    more: int
    less: int

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        channels = x.shape[1]
        means = emit.op("ReduceMean", x, emit.ints([2, 3]), keepdims=0)
        return emit.sum(means * (emit.one_hot("more", channels) - emit.one_hot("less", channels)), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        return {"more": np.full(batch, self.more), "less": np.full(batch, self.less)}

    def __str__(self) -> str:
        return f"channel {self.more} minus {self.less} of {self.layer}"


@pytest.fixture
def entered() -> Iterator[None]:
    facts = spelled(
        "LAYER:C:D",
        "mean of a channel minus that of another",
        lambda given, net, images: Difference(*of_one_layer("--difference", given)),
        parse=unit(2, 2),
    )
    named("objective", "difference", **facts)(Difference)
    yield
    forget("objective", "difference")


def layer_of(net: Network) -> str:
    return next(i.name for i in net.layers if i.op == "Conv")


def test_its_value_and_gradient_are_those_of_its_formula() -> None:
    net = sf.load(small_model(), preprocess="none")
    u = images(2)
    value, gradient = sf.value_and_grad(net, 3 * Difference("conv1", 2, 0))(u)
    (features,) = net.features(u, ["conv1"])
    means = features.mean(axis=(2, 3))
    np.testing.assert_allclose(value, 3 * (means[:, 2] - means[:, 0]), rtol=1e-5)
    parts = [sf.value_and_grad(net, sf.Channel("conv1", k))(u)[1] for k in (2, 0)]
    np.testing.assert_allclose(gradient, 3 * (parts[0] - parts[1]), atol=1e-6 * np.abs(gradient).max())


def test_a_descent_takes_it_and_records_it() -> None:
    net = sf.load(VGG)
    objective = Difference(layer_of(net), 1, 0)
    result = sf.visualize(net, objective, steps=5, progress=False)
    assert result.value is not None
    assert result.value[0] > result.history.value[0, 0]
    told = {"type": "Difference", "layer": objective.layer, "more": 1, "less": 0}
    assert told.items() <= result.manifest["objective"].items()


@pytest.mark.usefixtures("entered")
def test_the_command_line_offers_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer, out = layer_of(sf.load(VGG)), tmp_path / "a.png"
    asked = ["visualize", VGG, "--difference", f"{layer}:1:0", "--steps", "2", "--quiet", "-o", str(out)]
    assert main(asked) == 0
    manifest = json.loads((tmp_path / "a.manifest.json").read_text())
    assert manifest["objective"]["type"] == "Difference"
    capsys.readouterr()
    asked = [
        "gradient",
        VGG,
        "--difference",
        f"{layer}:1:0",
        "--quiet",
        "--json",
        "-o",
        str(tmp_path / "a.onnx"),
    ]
    assert main(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["gradient_of"] == f"channel 1 minus 0 of {layer} of shapes-vgg"
    with pytest.raises(SystemExit) as helped:
        main(["visualize", "--help"])
    assert helped.value.code == 0
    assert "--difference LAYER:C:D" in capsys.readouterr().out


def test_what_is_taken_back_is_not_offered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["visualize", VGG, "--class", "1", "--difference", "conv:1:0", "-o", str(tmp_path / "a.png")])
    assert refused.value.code == 2
    assert "there is no option --difference" in capsys.readouterr().err
