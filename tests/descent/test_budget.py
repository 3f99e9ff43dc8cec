"""Descents that end before their last step: by the clock, or where their value rises no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.arrays import Array
from sobolevflow.cli.main import main
from sobolevflow.descent import Octave, Settings, StepInfo, budget
from sobolevflow.descent.descent import descend
from sobolevflow.errors import InputError
from sobolevflow.experiments.recipes import Recipe
from sobolevflow.results import Result
from tests.support.analytic import Linear, Net, Objective, Quadratic
from tests.support.small_networks import images, small_model

SHAPE = (2, 3, 12, 10)
MATCH = Objective(maximize=False)


def random_images(seed: int = 0) -> Array:
    return np.random.default_rng(seed).random(SHAPE, dtype=np.float32)


def run(engine: Any, objective: Objective | None = None, **given: Any) -> Result:
    callback: Callable[[StepInfo], bool | None] | None = given.pop("callback", None)
    settings = Settings(**{"scheme": sf.gradient_descent(), "batch": engine.shape[0], **given})
    net, objective = Net(engine.shape[1:]), objective or Objective()
    return descend(engine, net, objective, settings, progress=False, callback=callback)


class Clock:
    """A clock that goes on by itself at no time, and by a second at each step of an engine."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budget, "monotonic", clock)
    return clock


class Slow:
    """An engine whose every evaluation takes so many seconds of a clock."""

    def __init__(self, engine: Any, clock: Clock, seconds: float = 1.0) -> None:
        self.engine, self.shape, self.clock, self.seconds = engine, engine.shape, clock, seconds

    def __call__(self, u: Array) -> tuple[Array, Array]:
        self.clock.now += self.seconds
        value, g = self.engine(u)
        return value, g


class Told:
    """An engine that says, one after the other, the values that it was given, (steps, N)."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, np.float64)
        self.shape = (self.values.shape[1], *SHAPE[1:])
        self.calls = 0

    def __call__(self, u: Array) -> tuple[Array, Array]:
        value = self.values[min(self.calls, len(self.values) - 1)]
        self.calls += 1
        return value.copy(), np.ones(self.shape, np.float32)


# By the clock


def test_it_stops_at_the_end_of_the_step_in_which_the_time_is_up(clock: Clock) -> None:
    result = run(Slow(Linear(random_images()), clock), steps=20, seconds=6.5)
    assert len(result.history) == 7
    assert result.stopped_by == "seconds"
    assert result.stopped == "Stopped after 7 of 20 steps: 6.5 seconds had passed."
    assert result.notes == (result.stopped,)
    outcome = result.manifest["outcome"]
    assert (outcome["stopped_by"], outcome["steps"], outcome["notes"]) == ("seconds", 7, [result.stopped])
    assert result.manifest["parameters"]["seconds"] == 6.5
    assert "patience" not in result.manifest["parameters"]
    assert not result.interrupted
    assert result.value is not None


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_images_are_those_of_the_same_number_of_steps(clock: Clock, schedule: str) -> None:
    given: dict[str, Any] = {"steps": 20, "jitter": 2, "seed": 4, "optimizer": "momentum"}
    given |= {"schedule": schedule}
    found = run(Slow(Quadratic(random_images()), clock), MATCH, seconds=7, **given)
    stopped = run(Quadratic(random_images()), MATCH, callback=lambda info: info.step == 7, **given)
    assert found.u.tobytes() == stopped.u.tobytes()
    if schedule == "constant":
        assert (
            found.u.tobytes() == run(Quadratic(random_images()), MATCH, **{**given, "steps": 7}).u.tobytes()
        )


def test_all_steps_are_taken_where_the_time_is_enough(clock: Clock) -> None:
    result = run(Slow(Linear(random_images()), clock), steps=5, seconds=5)  # it is up with the last one
    assert (result.stopped_by, len(result.history), result.notes) == ("steps", 5, ())
    assert result.stopped == "All 5 steps were taken."
    assert "seconds" in result.manifest["parameters"]


def test_a_step_is_taken_however_little_time_there_is(clock: Clock) -> None:
    result = run(Slow(Linear(random_images()), clock), steps=5, seconds=1e-3)
    assert len(result.history) == 1
    assert result.stopped == "Stopped after 1 of 5 steps: 0.001 seconds had passed."


def test_time_that_passed_before_the_first_step_does_not_count(clock: Clock) -> None:
    class LateToStart(Slow):
        def __init__(self) -> None:
            super().__init__(Linear(random_images()), clock)

    settings = Settings(scheme=sf.gradient_descent(), batch=2, steps=9, seconds=3)
    from sobolevflow.descent.loop import Loop

    loop = Loop(LateToStart(), Net(SHAPE[1:]), Objective(), settings)
    clock.now += 50
    assert list(loop.steps()) == [1, 2, 3]


def test_octaves_share_the_time_and_the_last_one_is_reached(clock: Clock) -> None:
    plan = [Octave(1.0, 20), Octave(1.2, 10), Octave(1.5, 10)]
    result = run(Slow(Linear(random_images()), clock), octaves=plan, seconds=8, schedule="cosine")
    assert result.history.octave.tolist() == [0] * 4 + [1] * 2 + [2] * 2
    assert result.u.shape[-2:] == (18, 15)
    assert result.notes == (
        "Octave 1 of 3 ended after 4 of 20 steps: its part of 8 seconds had passed.",
        "Octave 2 of 3 ended after 2 of 10 steps: its part of 8 seconds had passed.",
        "Octave 3 of 3 ended after 2 of 10 steps: its part of 8 seconds had passed.",
    )
    assert result.stopped == "Stopped after 8 of 40 steps: 8 seconds had passed."
    # tau is what it is where no octave is cut short: the schedule goes by planned steps
    planned = [*range(4), 20, 21, 30, 31]
    factors = 0.5 * (1 + np.cos(np.pi * np.array(planned) / 40))
    np.testing.assert_allclose(result.history.tau / result.history.tau[0], factors)


def test_every_octave_has_a_step_however_little_time_there_is(clock: Clock) -> None:
    result = run(Slow(Linear(random_images()), clock), octaves=3, steps=30, seconds=0.5)
    assert result.history.octave.tolist() == [0, 1, 2]
    assert result.u.shape[-2:] == (14, 12)


def test_an_octave_that_is_done_early_leaves_its_time_to_the_next(clock: Clock) -> None:
    plan = [Octave(1.0, 2), Octave(1.2, 38)]
    result = run(Slow(Linear(random_images()), clock, 0.25), octaves=plan, seconds=5)
    assert result.history.octave.tolist() == [0] + [1] * 19
    assert result.stopped_by == "seconds"


# By what has become of the value


def test_it_stops_where_the_value_has_not_risen_for_so_many_steps() -> None:
    engine = Told([[1.0], [2.0], [1.5], [1.9], [2.0], [9.0], [9.0]])
    result = run(engine, steps=50, patience=3)
    assert len(result.history) == 5  # 2.0 was the best, and three steps later there is none better
    assert result.stopped_by == "patience"
    assert result.stopped == "Stopped after 5 of 50 steps: the value had not risen for 3 steps."
    assert result.notes == (result.stopped,)
    assert result.manifest["parameters"]["patience"] == 3


def test_what_is_minimised_has_to_fall() -> None:
    result = run(Told([[3.0], [2.0], [2.5], [2.0], [2.0]]), MATCH, steps=50, patience=2)
    assert len(result.history) == 4
    assert result.stopped == "Stopped after 4 of 50 steps: the value had not fallen for 2 steps."
    falling = run(Quadratic(random_images()), MATCH, steps=12, tau=1e-3, jitter=0, patience=1)
    assert (falling.stopped_by, len(falling.history)) == ("steps", 12)


def test_a_batch_goes_on_while_any_of_its_images_comes_to_a_better_value() -> None:
    values = [[5.0, 1.0], [4.0, 2.0], [4.0, 1.0], [4.5, 3.0], [1.0, 2.9], [4.9, 1.0], [6.0, 6.0]]
    result = run(Told(values), steps=50, patience=2)
    assert len(result.history) == 6


def test_patience_begins_anew_in_each_octave() -> None:
    values = [[5.0], [4.0], [3.0], [1.0], [2.0], [1.0], [1.0], [1.0]]
    plan = [Octave(1.0, 20), Octave(1.5, 20)]
    result = run(Told(values), octaves=plan, patience=2)
    assert result.history.octave.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert result.notes == (
        "Octave 1 of 2 ended after 3 of 20 steps: the value had not risen for 2 steps.",
        "Octave 2 of 2 ended after 4 of 20 steps: the value had not risen for 2 steps.",
    )
    assert result.stopped == "Stopped after 7 of 40 steps: the value had not risen for 2 steps."


def test_an_octave_cut_short_is_said_where_the_last_one_was_not() -> None:
    values = [[5.0], [4.0], *([float(k)] for k in range(10))]
    result = run(Told(values), octaves=[Octave(1.0, 9), Octave(1.5, 4)], patience=1)
    assert result.history.octave.tolist() == [0, 0, 1, 1, 1, 1]
    assert result.stopped_by == "patience"
    assert len(result.notes) == 1


def test_patience_is_repeatable_and_stops_where_the_history_says() -> None:
    given: dict[str, Any] = {"steps": 200, "jitter": 3, "tau": 0.02, "patience": 5, "seed": 1}
    one, two = (run(Quadratic(random_images()), MATCH, **given) for _ in range(2))
    assert one.u.tobytes() == two.u.tobytes()
    taken = len(one.history)
    assert 5 < taken < 200
    best = np.minimum.accumulate(one.history.value, axis=0)
    better = np.any(np.diff(best, axis=0) < 0, axis=1).tolist()
    assert better[-6]
    assert not any(better[-5:])
    assert one.u.tobytes() == run(Quadratic(random_images()), MATCH, **{**given, "steps": taken}).u.tobytes()


def test_whichever_is_spent_first_ends_the_descent(clock: Clock) -> None:
    values = [[1.0], [0.0]]
    assert run(Slow(Told(values), clock), steps=9, seconds=3, patience=6).stopped_by == "seconds"
    assert run(Slow(Told(values), clock), steps=9, seconds=5, patience=2).stopped_by == "patience"


def test_a_callback_and_an_interruption_come_before_the_budget(clock: Clock) -> None:
    engine = Slow(Linear(random_images()), clock)
    result = run(engine, steps=9, seconds=4, callback=lambda info: info.step == 4)
    assert result.stopped_by == "callback"
    assert result.stopped == "Stopped by the callback after 4 of 9 steps."


# What is declared of them


def test_runs_without_a_budget_are_described_as_before() -> None:
    parameters = Settings(scheme=sf.gradient_descent()).to_dict()
    assert not {"seconds", "patience"} & parameters.keys()
    recipe = Recipe(scheme=sf.gradient_descent())
    assert recipe.to_dict() == recipe.but(seconds=None, patience=None).to_dict()
    assert recipe.but(patience=4).to_dict() == {**recipe.to_dict(), "patience": 4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seconds": 0}, "seconds is 0; it must be a finite number above zero"),
        ({"seconds": float("inf")}, "seconds is inf; it must be a finite number"),
        ({"seconds": "3"}, "seconds is '3'"),
        ({"patience": 0}, "patience is 0; it must be a whole number of at least 1"),
        ({"patience": 2.5}, "patience is 2.5"),
        ({"patience": True}, "patience is True"),
    ],
)
def test_what_is_no_budget_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(scheme=sf.gradient_descent(), **given)


def test_several_devices_look_each_at_their_own_images() -> None:
    net = sf.load(small_model(), preprocess="none")
    given: dict[str, Any] = {"steps": 300, "patience": 3, "progress": False, "tau": 0.1, "jitter": 0}
    given |= {"scheme": sf.gradient_descent(), "start": images(2)}
    together = sf.visualize(net, sf.Class([1, 4]), device="cpu,cpu", **given)
    alone = [sf.visualize(net, sf.Class(c), **{**given, "start": images(2)[i]}) for i, c in enumerate((1, 4))]
    assert together.stopped_by == "patience"
    assert len(together.history) == min(len(each.history) for each in alone) < 300
    np.testing.assert_allclose(together.u, np.concatenate([each.u for each in alone]), atol=1e-5)
    assert set(together.notes) >= {each.stopped for each in alone}
    assert together.stopped == min(alone, key=lambda each: len(each.history)).stopped


def test_the_command_line_takes_both_and_says_what_happened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "m.onnx", tmp_path / "a.png"
    model.write_bytes(small_model().SerializeToString())
    asked = ["visualize", str(model), "--class", "1", "--preprocess", "none", "--steps", "500"]
    asked += ["--scheme", "none", "--jitter", "0", "--tau", "0.1"]
    asked += ["--patience", "2", "--seconds", "500", "-o", str(out)]
    assert main(asked) == 0
    manifest = json.loads((tmp_path / "a.manifest.json").read_text())
    steps = manifest["outcome"]["steps"]
    assert steps < 500
    assert (manifest["parameters"]["patience"], manifest["parameters"]["seconds"]) == (2, 500.0)
    told = f"Stopped after {steps} of 500 steps: the value had not risen for 2 steps."
    assert told in " ".join(capsys.readouterr().err.split())
    assert main([*asked[:-2], "--json", "-o", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["stopped_by"] == "patience"
    assert main([*asked, "--seconds", "0"]) == 2
    assert "seconds is 0.0; it must be a finite number above zero" in capsys.readouterr().err


def test_the_time_is_that_of_the_wall() -> None:
    net = sf.load(small_model(), preprocess="none")
    result = sf.visualize(net, sf.Class(1), steps=10**6, seconds=0.2, progress=False)
    assert result.stopped_by == "seconds"
    assert 0.2 <= result.manifest["timings"]["seconds"] < 5
