"""An optimizer of somebody else's program, by its name: in Python and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.cli import main
from sobolevflow.descent.settings import Settings
from sobolevflow.descent.step import is_capturable
from sobolevflow.errors import UnknownNameError
from sobolevflow.named import forget, named


@pytest.fixture(autouse=True)
def sign() -> Iterator[None]:
    """An optimizer whose steps are equally long in every pixel, entered and taken back."""

    @named("optimizer", "sign")
    @dataclass(frozen=True)
    class Sign:
        queues: ClassVar[bool] = True

        def __call__(self, g: Any, state: None = None) -> tuple[Any, None]:
            return np.sign(g), None

        def to_dict(self) -> dict[str, Any]:
            return {"name": "sign"}

    yield
    forget("optimizer", "sign")
    with pytest.raises(UnknownNameError, match="no optimizer 'sign'; known are descent, momentum, adam"):
        sf.optimizers.optimizer("sign")


def test_a_step_is_that_of_the_optimizer() -> None:
    net, objective = sf.load("builtin:shapes-vgg"), sf.Class(1)
    start = np.random.default_rng(0).random((1, *net.input_shape), dtype=np.float32)
    result = sf.visualize(
        net,
        objective,
        scheme=sf.gradient_descent(),
        optimizer="sign",
        steps=1,
        tau=0.25,
        start=start,
        jitter=0,
        clip=False,
        progress=False,
    )
    _, g = sf.value_and_grad(net, objective)(start)
    np.testing.assert_array_equal(result.u, start + np.float32(0.25) * np.sign(g))
    assert result.manifest["parameters"]["optimizer"] == {"name": "sign"}


def test_no_effective_weight_is_claimed_where_it_states_no_gain() -> None:
    net, scheme = sf.load("builtin:shapes-vgg"), sf.elastic(sf.filters.Sobolev(gamma=0.8))

    def weight(optimizer: str) -> Any:
        result = sf.visualize(net, sf.Class(1), scheme=scheme, optimizer=optimizer, steps=1, progress=False)
        return result.manifest["outcome"]["effective_weight"]

    assert weight("descent")["weight"] > 0
    assert weight("sign") is None


def test_it_says_whether_its_steps_are_queued() -> None:
    assert is_capturable(Settings(scheme=sf.gradient_descent(), optimizer="sign"))
    assert not is_capturable(Settings(scheme=sf.gradient_descent(), optimizer=Waiting()))


class Waiting:
    """An optimizer that says nothing of itself."""

    def __call__(self, g: Any, state: None = None) -> tuple[Any, None]:
        return g, None

    def to_dict(self) -> dict[str, Any]:
        return {"name": "waiting"}


def test_the_command_line_offers_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "picture.png"
    command = ["visualize", "builtin:shapes-vgg", "--class", "0", "--steps", "2", "--quiet"]
    assert main([*command, "--optimizer", "sign", "-o", str(picture)]) == 0
    manifest = json.loads((tmp_path / "picture.manifest.json").read_text())
    assert manifest["parameters"]["optimizer"] == {"name": "sign"}
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["visualize", "--help"])
    assert "sign" in capsys.readouterr().out
