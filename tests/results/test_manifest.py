"""The record of a descent as a value: written, read and put together from parts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sobolevflow.results import Manifest, Outcome, Timings, as_text

OUTCOME = Outcome("steps", 6, [0.5, 1.5], [2, 3, 4, 5], ["a", "b"], {"weight": 0.1})
TIMINGS = Timings("2024-05-01T12:00:00+00:00", 1.5, 0.25, 2)
ONE = Manifest(
    versions={"numpy": "2"},
    model={"name": "net"},
    objective={"label": "class 1", "indices": {"class": [1, 2]}},
    parameters={"seed": 3},
    outcome=OUTCOME,
    timings=TIMINGS,
)


def test_what_is_read_is_what_was_written() -> None:
    assert Manifest.from_dict(json.loads(as_text(ONE.to_dict()))) == ONE
    parts = ["versions", "model", "objective", "parameters", "outcome", "timings"]
    since = ["format", "source", "environment", "not_repeatable", "asked", "written"]
    assert list(ONE.to_dict()) == [*parts, *since]
    names = ["stopped_by", "steps", "value", "shape", "notes", "effective_weight"]
    names += ["steps_of_octaves", "sha256"]
    assert list(ONE.to_dict()["outcome"]) == names
    assert list(ONE.to_dict()["timings"]) == ["started", "seconds", "seconds_per_step", "images_at_once"]


def test_parts_are_put_together_in_their_order() -> None:
    two = replace(
        ONE,
        objective={"label": "class 1", "indices": {"class": [7]}},
        outcome=Outcome("interrupt", 4, [2.5], [1, 3, 4, 5], ["b", "c"], None),
        timings=replace(TIMINGS, seconds=2.0),
    )
    three = replace(ONE, outcome=Outcome("callback", 5, [3.5], [1, 3, 4, 5], [], None))
    whole = Manifest.merge([ONE, two, three], {"seed": 0})
    assert whole.objective == {"label": "class 1", "indices": {"class": [1, 2, 7, 1, 2]}}
    assert whole.parameters == {"seed": 0}
    expected = Outcome("interrupt", 4, [0.5, 1.5, 2.5, 3.5], [4, 3, 4, 5], ["a", "b", "c"], {"weight": 0.1})
    assert whole.outcome == expected
    assert whole.timings == replace(TIMINGS, seconds=2.0)
    assert (whole.versions, whole.model) == (ONE.versions, ONE.model)


@pytest.mark.parametrize("values", [(None, [1.0]), ([1.0], None)])
def test_there_is_no_value_where_a_part_has_none(values: tuple[Any, Any]) -> None:
    parts = [replace(ONE, outcome=replace(OUTCOME, value=value)) for value in values]
    assert Manifest.merge(parts, {}).outcome.value is None
