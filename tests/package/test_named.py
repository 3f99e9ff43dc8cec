"""What is entered by a name is refused where it is entered, if it could not be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow.arrays import Array
from sobolevflow.cli import main
from sobolevflow.errors import InputError
from sobolevflow.filters import Filter
from sobolevflow.maps import Map
from sobolevflow.named import Option, forget, member, members, named
from sobolevflow.objectives import Layer, spelled


@dataclass(frozen=True)
class Twice(Map):
    """An operator with options of several kinds."""

    times: int = 2
    mode: str = "a"
    gamma: int = 1

    def __call__(self, u: Array) -> Array:
        return u


class Quiet:
    """Nothing that can be called."""


def entered(*options: Option, name: str = "twice", **facts: Any) -> Callable[[type[Twice]], type[Twice]]:
    return named("operator", name, *options, **{"places": ("filter", "K_e"), **facts})


@pytest.fixture(autouse=True)
def _taken_back() -> Iterator[None]:
    yield
    for name in ("twice", "model", "command", "words", "steps", "energy"):
        forget("operator", name)
        forget("objective", name)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    picture = np.full((16, 16, 3), 128, np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize(
    ("enter", "said"),
    [
        (lambda: named("operators", "twice")(Twice), "operators 'twice' .* families are operator"),  # type: ignore[arg-type]
        (lambda: named("operator", 3)(Twice), "small letters"),  # type: ignore[arg-type]
        (lambda: named("operator", "")(Twice), "small letters"),
        (lambda: named("operator", "--x")(Twice), "small letters"),
        (lambda: named("optimizer", "auto")(Twice), "what is left open"),
        (lambda: named("operator", "twice", "times")(Twice), "'times' is no Option"),  # type: ignore[arg-type]
        (lambda: named("penalty", "twice", Option("times", ""))(Twice), "a penalty has no options"),
        (lambda: entered(place="K_f")(Twice), "no fact 'place'"),
        (lambda: entered(places=("K",))(Twice), "places are filter, K_f, K_e, not 'K'"),
        (lambda: entered(Option("often", "how often"))(Twice), "it takes no 'often'"),
        (lambda: named("operator", "twice")(Quiet), "Quiet has no __call__"),
        (lambda: named("operator", "twice")(Filter), "Filter leaves open .*kernel"),
        (lambda: named("objective", "energy")(Layer), "those of sobolevflow.objectives.spelled"),
        (lambda: Option("of what", "spaces"), "must be a keyword"),
        (lambda: Option("times", "", "int"), "kind 'int'; known are 'number'"),  # type: ignore[arg-type]
    ],
)
def test_an_entry_that_could_not_be_used_is_refused(enter: Callable[[], object], said: str) -> None:
    before = {family: members(family) for family in ("operator", "optimizer", "objective")}
    with pytest.raises(InputError, match=said):
        enter()
    assert {family: members(family) for family in ("operator", "optimizer", "objective")} == before


def test_choices_are_words(photo: str, tmp_path: Path) -> None:
    entered(Option("mode", "which", choices=("a", "b")))(Twice)
    assert member("operator", "twice").options[0].kind == "text"
    filtered = ["filter", photo, "-o", str(tmp_path / "f.png")]
    assert main([*filtered, "--filter", "twice", "--mode", "b"]) == 0


@pytest.mark.parametrize(
    ("option", "given", "said"),
    [
        (Option("gamma", "whole", "count"), ["--gamma", "1.5"], "--gamma is 1.5; .* a whole number from 1"),
        (Option("gamma", "whole", "count"), ["--gamma", "2,1"], "--gamma is (2.0, 1.0); .* a whole number"),
        (Option("gamma", "whole", "natural"), ["--gamma", "-1"], "--gamma is -1.0; .* a whole number from 0"),
        (Option("mode", "", choices=("a", "b")), ["--mode", "c"], "invalid choice|--mode"),
    ],
)
def test_an_option_is_read_as_the_chosen_operator_wants_it(
    option: Option, given: list[str], said: str, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entered(option)(Twice)
    try:
        code = main(["filter", photo, "-o", f"{photo}.png", "--filter", "twice", *given])
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), capsys.readouterr().err)


@pytest.mark.parametrize("taken", ["photo", "filter", "output"])
def test_an_option_called_like_another_thing_is_named(
    taken: str, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cls = type("Odd", (Twice,), {"__annotations__": {taken: int}, taken: 1})
    entered(Option(taken, "clashes"))(dataclass(frozen=True)(cls))
    assert main(["filter", photo, "-o", f"{photo}.png"]) == 2
    assert f"--{taken} of twice is called like something else" in capsys.readouterr().err


@pytest.mark.parametrize("taken", ["model", "command", "words", "steps"])
def test_an_objective_called_like_another_thing_is_named(
    taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named("objective", taken, **spelled("LAYER", "clashes", lambda given, net, images: Layer(given[0])))(
        Layer
    )
    assert main(["visualize", "builtin:shapes-vgg", "--class", "3", "--steps", "1", "-o", "x.png"]) == 2
    assert f"--{taken} is called like something else that visualize takes" in capsys.readouterr().err


def test_an_objective_that_is_no_batch_is_given_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    facts = spelled("LAYER", "energy", lambda given, net, images: Layer(given[0]), instead="take turns")
    named("objective", "energy", **facts)(Layer)
    twice = ["--energy", "block2_relu2", "--energy", "block1_relu1"]
    written = ["--steps", "1", "-o", str(tmp_path / "x.png")]
    assert main(["visualize", "builtin:shapes-vgg", *twice, *written]) == 2
    assert "--energy is given once; take turns" in capsys.readouterr().err


def test_none_leaves_open_what_has_no_other_none() -> None:
    net = sf.load("builtin:shapes-vgg")
    asked: dict[str, Any] = {"steps": 2, "progress": False}
    left = sf.visualize(net, sf.Class(3), schedule=None, optimizer=None, **asked)  # type: ignore[arg-type]
    assert left.u.tobytes() == sf.visualize(net, sf.Class(3), **asked).u.tobytes()


def test_an_option_may_be_called_otherwise_than_its_keyword() -> None:
    assert Option("times", "").keyword == "times"
    assert Option("how_often", "", keyword="times").keyword == "times"
    with pytest.raises(InputError, match="it takes no 'often'"):
        entered(Option("how_often", "", keyword="often"))(Twice)


def test_an_entry_is_replaced_by_one_of_its_name() -> None:
    entered()(Twice)
    entered(strength="times")(Twice)
    assert member("operator", "twice").facts["strength"] == "times"
