"""Descents that go astray are noted, with a remedy that helps; those in order are not."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.descent import Settings
from sobolevflow.descent.divergence import divergence
from sobolevflow.models import draw
from sobolevflow.results import History, Record, Result

GREY = 1 / 255
K = sf.filters.Sobolev(size=11)
STEPS = 40


@cache
def network(name: str = "shapes-dense") -> sf.Network:
    return sf.load(f"builtin:{name}")


def inversion(net: sf.Network) -> sf.Inversion:
    relus = [info.name for info in net.layers if info.op == "Relu"]
    photo = draw("spiral", np.random.default_rng(0), net.input_shape[1])
    return sf.Inversion(relus[len(relus) // 2], photo)


def penalised(weight: float) -> dict[str, Any]:
    return {"scheme": sf.gradient_descent(sf.schemes.Dirichlet(weight))}


# What is in order, and what a hundredfold tau or another mistake makes of it, by the words of the note.
ASKED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "default": ({}, {"tau": 200 * GREY}, "each step changed the image by"),
    "fluid": ({"scheme": sf.fluid(K)}, {"tau": 500 * GREY}, "at 0 or 1"),
    "elastic": ({"scheme": sf.elastic(K)}, {"tau": 500 * GREY}, "at 0 or 1"),
    "variation": ({"scheme": sf.proximal_tv(0.01)}, {"tau": 500 * GREY}, "at 0 or 1"),
    "momentum": (
        {"scheme": sf.fluid(K), "optimizer": "momentum", "tau": GREY / 2},
        {"tau": 50 * GREY},
        "at 0 or 1",
    ),
    "adam": ({"scheme": sf.fluid(K), "optimizer": "adam", "tau": GREY}, {"tau": 100 * GREY}, "at 0 or 1"),
    "without clip": ({"scheme": sf.fluid(K), "clip": False}, {"tau": 500 * GREY}, "far outside"),
    "penalty": (penalised(0.01), penalised(1000.0), "at 0 or 1"),
    "octaves": (
        {"scheme": sf.fluid(K), "octaves": [0.5, 1.0], "steps": 2 * STEPS},
        {"tau": 500 * GREY},
        "at 0 or 1",
    ),
    "fourier": ({"parametrization": sf.Fourier()}, {"tau": 10.0}, "at 0 or 1"),
}


def visualized(**given: Any) -> Result:
    return sf.visualize(network(), sf.Class(3), **{"steps": STEPS, "progress": False, **given})


@pytest.mark.parametrize(("given", "wrong", "words"), ASKED.values(), ids=list(ASKED))
def test_what_goes_astray_is_noted_and_the_remedy_helps(
    given: dict[str, Any], wrong: dict[str, Any], words: str
) -> None:
    assert not visualized(**given).notes
    astray = visualized(**{**given, **wrong})
    (note,) = astray.notes
    assert words in note
    assert astray.manifest["outcome"]["notes"] == [note]
    weight, tau = re.search(r"--penalty-weight (\S+)\)", note), re.search(r"--tau (\S+)\)", note)
    if weight is not None:
        remedy = penalised(float(weight[1]))
    else:
        assert tau is not None
        remedy = {"tau": float(tau[1])}
    assert not visualized(**{**given, **wrong, **remedy}).notes


@pytest.mark.parametrize(
    ("name", "scheme", "words"),
    [
        ("shapes-dense", None, "each step changed the image by"),
        ("shapes-vgg", sf.fluid(K), "each step changed the image by"),
    ],
    ids=["default", "fluid"],
)
def test_an_inversion_that_goes_astray_is_noted(name: str, scheme: Any, words: str) -> None:
    net = network(name)
    usual: dict[str, Any] = {"scheme": scheme, "steps": STEPS, "progress": False}
    assert not sf.invert(net, inversion(net), **usual).notes
    (note,) = sf.invert(net, inversion(net), tau=400 * GREY, **usual).notes
    assert note.startswith(words)
    found = re.search(r"--tau (\S+)\)", note)
    assert found is not None
    assert not sf.invert(net, inversion(net), tau=float(found[1]), **usual).notes


def notes(
    value: Any, *, maximize: bool = True, octave: Any = None, u: Any = None, tau: float = 0.01, **given: Any
) -> list[str]:
    """Those of a run with these values (steps, N)."""
    value = np.asarray(value, float)
    octave = np.zeros(len(value), int) if octave is None else octave
    steps = zip(value, octave, strict=True)
    records = [Record(v, np.ones(len(v)), np.full(len(v), 0.01), tau, int(o)) for v, o in steps]
    u = np.full((value.shape[1], 3, 4, 4), 0.5) if u is None else u
    settings = Settings(**{"scheme": sf.gradient_descent(), "batch": len(u), **given})
    history = History(records, value.shape[1])
    return divergence(history, u, settings, maximize=maximize, latent=False)


def test_images_of_a_batch_are_named() -> None:
    rising = np.linspace(0, 1, 30)
    assert notes(np.stack([rising, rising], 1)) == []
    (note,) = notes(np.stack([rising, -rising, rising, -rising], 1))
    assert note.startswith("images 1, 3: the value ended smaller than it was at the start")
    assert notes(np.stack([rising, -rising], 1), maximize=False)[0].startswith(
        "image 0: the value ended larger"
    )
    u = np.full((2, 3, 4, 4), 0.5)
    u[1, :, :2] = 1.0
    (note,) = notes(np.stack([rising, -rising], 1), u=u, tau=1.0)
    assert "image 1: " in note
    assert " and 50% of the values are at 0 or 1; tau" in note


def test_a_value_that_falls_below_the_start_in_the_end_is_noted() -> None:
    up_and_down = np.concatenate([np.linspace(0, 1, 90), np.linspace(1, -9, 10)])[:, None]
    assert len(notes(up_and_down)) == 1
    assert notes(up_and_down[:90]) == []


def test_a_change_of_octave_is_no_fall(rng: np.random.Generator) -> None:
    octave = np.repeat([0, 1, 2], 30)
    first = np.linspace(0, 8, 30) + 0.1 * rng.standard_normal(30)
    other = 5 + 0.5 * rng.standard_normal(60)  # of another canvas, about where they begin
    value = np.concatenate([first, other])[:, None]
    value[30], value[60] = 6, 6  # by luck the best
    assert notes(value, octave=octave) == []
    value[60:, 0] -= np.linspace(0, 20, 30)
    assert len(notes(value, octave=octave)) == 1


def test_a_start_that_is_the_best_there_is_may_stay_so(rng: np.random.Generator) -> None:
    value = 5 + 0.5 * rng.standard_normal((60, 1))
    value[0] = 6
    assert len(notes(value)) == 1
    assert notes(value, start=np.full((3, 4, 4), 0.5)) == []


def test_a_few_steps_tell_nothing() -> None:
    falling = -np.arange(20.0)[:, None]
    assert len(notes(falling)) == 1
    assert notes(falling[:19]) == []


def test_black_and_white_of_a_start_are_its_own() -> None:
    rising, u = np.linspace(0, 1, 30)[:, None], np.zeros((1, 3, 4, 4))
    assert len(notes(rising, u=u, tau=1.0)) == 1
    assert notes(rising, u=u) == []  # with a tau as usual the objective wants it so
    assert notes(rising, u=u, start=u, tau=1.0) == []
    assert notes(-rising, u=u, maximize=False) == []  # the features of a picture that has them
