"""The declaration of a descent's parameters: what follows from it, and that it says what it always said."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import sobolevflow as sf
from sobolevflow import checks
from sobolevflow.cli.types import of_kind
from sobolevflow.descent import declaration
from sobolevflow.descent.declaration import ASKED, Asked, Parameters, parameters
from sobolevflow.descent.declaring import Command, Usual, declares, parameter
from sobolevflow.descent.settings import Settings
from sobolevflow.descent.signature import descends
from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.experiments.recipes import Recipe

if TYPE_CHECKING:
    from sobolevflow.arrays import Array
    from sobolevflow.descent import Normalisation, Octave, Schedule
    from sobolevflow.descent.declaration import RecipeName
    from sobolevflow.descent.parametrization import Parametrization
    from sobolevflow.descent.progress import Callback
    from sobolevflow.devices import Device
    from sobolevflow.network import Network
    from sobolevflow.objectives import Objective
    from sobolevflow.optimizers import Optimizer
    from sobolevflow.results import Result
    from sobolevflow.schemes import Scheme
    from sobolevflow.transforms import Distribution


def visualize(  # type: ignore[empty-body]
    net: Network,
    objective: Objective,
    *,
    scheme: Scheme | None = None,
    recipe: RecipeName = "auto",
    steps: int = 160,
    seconds: float | None = None,
    patience: int | None = None,
    tau: float | None = None,
    schedule: Schedule | Literal["auto"] = "auto",
    optimizer: str | Optimizer = "auto",
    normalise: Normalisation | Literal["auto"] = "auto",
    canvas: Sequence[int] | None = None,
    batch: int | None = None,
    octaves: int | Sequence[float] | Sequence[Octave] | None = None,
    jitter: int | None = None,
    crops: Distribution = "uniform",
    rotate: float | None = None,
    zoom: float | None = None,
    seed: int = 0,
    start: Literal["natural", "grey", "normal"] | Array | None = None,
    noise: float | None = None,
    device: str | Device | Sequence[str | Device] = "cpu",
    progress: bool = True,
    callback: Callback | None = None,
    snapshots: int | Sequence[int] = 0,
    clip: bool | None = None,
    clipped: float | None = None,
    parametrization: Parametrization | None = None,
    mask: Array | None = None,
    autosave: str | os.PathLike[str] | None = None,
) -> Result:
    """As it was written out by hand."""


def invert(  # type: ignore[empty-body]
    net: Network,
    objective: Objective,
    *,
    scheme: Scheme | None = None,
    recipe: RecipeName = "auto",
    steps: int = 300,
    seconds: float | None = None,
    patience: int | None = None,
    tau: float | None = None,
    schedule: Schedule | Literal["auto"] = "auto",
    optimizer: str | Optimizer = "auto",
    normalise: Normalisation | Literal["auto"] = "auto",
    canvas: Sequence[int] | None = None,
    batch: int | None = None,
    octaves: int | Sequence[float] | Sequence[Octave] | None = None,
    jitter: int | None = None,
    crops: Distribution = "uniform",
    rotate: float | None = None,
    zoom: float | None = None,
    seed: int = 0,
    start: Literal["natural", "grey", "normal"] | Array | None = None,
    noise: float | None = None,
    device: str | Device | Sequence[str | Device] = "cpu",
    progress: bool = True,
    callback: Callback | None = None,
    snapshots: int | Sequence[int] = 0,
    clip: bool | None = None,
    clipped: float | None = None,
    parametrization: Parametrization | None = None,
    mask: Array | None = None,
    autosave: str | os.PathLike[str] | None = None,
) -> Result:
    """As it was written out by hand."""


@pytest.mark.parametrize(("now", "before"), [(sf.visualize, visualize), (sf.invert, invert)])
def test_signatures_are_those_that_were_written_out(now: Any, before: Any) -> None:
    found, expected = inspect.signature(now), inspect.signature(before)
    assert dict(found.parameters) == dict(expected.parameters)
    assert list(found.parameters)[:2] == ["net", "objective"]
    assert found.return_annotation == expected.return_annotation
    assert now.__name__ == before.__name__
    assert now.__annotations__ == before.__annotations__


@pytest.mark.parametrize("function", [sf.visualize, sf.invert])
def test_help_explains_every_parameter_once(function: Any) -> None:
    text = inspect.getdoc(function) or ""
    names = list(inspect.signature(function).parameters)
    lines = text.splitlines()
    entries = lines[lines.index("Parameters") + 2 : lines.index("Returns") - 1]
    assert [line.split(" : ")[0] for line in entries if line[:1] != " "] == names
    assert all(len(line) <= 110 for line in lines)
    assert "declared and explained" not in text
    told = {"visualize": "2/255; with a scheme 5/255.", "invert": "1/255; with a scheme 4/255."}
    assert f"Unless given, {told[function.__name__]}" in text


def test_wrong_keywords_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"visualize\(\) got an unexpected keyword argument 'step'"):
        sf.visualize(None, None, step=3)  # type: ignore[call-arg, arg-type]
    with pytest.raises(TypeError, match=r"invert\(\) missing a required argument: 'objective'"):
        sf.invert(None)  # type: ignore[call-arg, arg-type]
    with pytest.raises(TypeError, match="too many positional arguments"):
        sf.visualize(None, None, None)  # type: ignore[call-arg, arg-type]


# --- a parameter more ---------------------------------------------------------------------------

GLOW = parameter(
    default=None,
    doc="""float, optional
    How much it glows.
    """,
    visualize=Usual(0.5, 2 / 255),
    check=checks.nonnegative,
    command=Command("how much it glows", "number"),
)


@declares
class Glowing(Asked):
    """What is asked, and one thing more."""

    glow: float | None = GLOW


@declares
class GlowingSettings(Settings):
    """Settings with one thing more."""

    glow: float | None = parameter(
        default=0.25, doc="float\nHow much it glows.", check=checks.nonnegative, manifest="always"
    )


def test_signature_help_and_command_line_follow_from_the_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASKED, "visualize", Glowing)
    told: dict[str, Any] = {}

    @descends("visualize", Glowing)
    def glow(net: Any, objective: Any, **given: Any) -> Any:
        """Glow.

        Parameters
        ----------
        **given
            Parameters of the descent, declared and explained in `sobolevflow.descent.declaration`.
        """
        told.update(given)

    assert inspect.signature(glow).parameters["glow"].default is None
    assert inspect.signature(glow).parameters["glow"].annotation == "float | None"
    glow(None, None, glow=3)  # type: ignore[arg-type]
    assert told["glow"] == 3
    assert told["steps"] == 160
    (option,) = (p for p in parameters("visualize") if p.name == "glow")
    assert (option.about, option.kind) == ("how much it glows", "number")
    assert of_kind(option.kind or "").metavar == "X"
    assert option.otherwise == "0.5; with a scheme 2/255"
    assert "glow : float, optional" in (glow.__doc__ or "")
    assert "Unless given, 0.5; with a scheme 2/255." in (glow.__doc__ or "")
    assert "glow" not in {p.name for p in parameters("invert")}


def test_auto_is_no_answer_where_no_recipe_has_one() -> None:
    scheme = sf.gradient_descent()
    assert Settings(scheme=scheme, schedule="auto").schedule == "constant"
    with pytest.raises(UnknownNameError, match="crops is 'auto'"):
        Settings(scheme=scheme, crops="auto")  # type: ignore[arg-type]


def test_checks_and_manifest_follow_from_the_declaration() -> None:
    scheme = sf.gradient_descent()
    assert GlowingSettings(scheme=scheme, glow=2).to_dict()["glow"] == 2.0
    assert GlowingSettings(scheme=scheme).to_dict() == {**Settings(scheme=scheme).to_dict(), "glow": 0.25}
    with pytest.raises(InputError, match="glow is -1; it must be"):
        GlowingSettings(scheme=scheme, glow=-1)


def test_settings_and_recipes_hold_what_is_declared() -> None:
    names = [each.name for each in fields(Parameters)]
    assert [each.name for each in fields(Recipe)] == names
    assert [each.name for each in fields(Settings)][: len(names)] == names
    settings = Settings(scheme=sf.gradient_descent(), parametrization=sf.Fourier())
    left_out = ("seconds", "patience", "mask", "autosave")
    assert list(settings.to_dict()) == [name for name in names if name not in left_out]
    assert {p.name for p in parameters("visualize")} == {*names, "recipe", "progress", "callback"}


def test_what_is_left_open_is_what_visualize_has_beside_a_scheme() -> None:
    usual: dict[str, Any] = {"tau": 5 / 255, "schedule": "constant", "optimizer": "descent"}
    usual |= {"normalise": "before", "jitter": 2, "rotate": 0.0, "zoom": 0.0}
    usual |= {"start": "grey", "noise": 8 / 255, "clip": True, "batch": 1}
    left = Settings(scheme=sf.gradient_descent()).to_dict()
    assert left == Settings(scheme=sf.gradient_descent(), **usual).to_dict()
    recipe = Recipe(scheme=sf.gradient_descent(), tau=0.1)
    assert recipe.to_dict() == {**left, "tau": 0.1, "normalise": "after", "jitter": 0}


def test_the_command_line_shows_a_new_parameter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sobolevflow.cli import main

    monkeypatch.setitem(ASKED, "visualize", Glowing)
    with pytest.raises(SystemExit):
        main(["visualize", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--glow" in text
    assert "how much it glows (default: 0.5; with a scheme 2/255)" in text


# --- what it costs ------------------------------------------------------------------------------


def test_the_declaration_needs_no_heavy_library() -> None:
    heavy = ("scipy", "numba", "onnx", "onnxruntime", "PIL", "rich")
    code = (
        "import sys; from sobolevflow.descent import parameters; parameters('visualize'); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PROGRAM = """
import sobolevflow as sf
def f(net: sf.Network) -> sf.Result:
    sf.visualize(net, sf.Class(1), step=3)
    sf.visualize(net, sf.Class(1), steps="3")
    return sf.invert(net=net, objective=sf.Class(1), steps=3, tau=None, start="grey", jitter=2)
"""


@pytest.mark.slow
def test_type_checkers_see_names_and_types(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    settings = Path(declaration.__file__).parents[2] / "pyproject.toml"
    options = ["--follow-imports=silent", "--cache-dir", str(tmp_path), "--config-file", str(settings)]
    told = [line for line in api.run([*options, str(path)])[0].splitlines() if "error:" in line]
    expected = ('keyword argument "step"', 'type "str"; expected "int"')
    assert len(told) == len(expected), told
    assert all(part in line for part, line in zip(expected, told, strict=True))
