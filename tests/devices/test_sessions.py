"""Which sessions of a network are kept, for how long, and for whom."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.devices import Computation, Device, Opened, Sessions
from sobolevflow.gradient import Engine
from tests.support.small_networks import images, small_model


class Session:
    """In the place of one of onnxruntime's."""


def computation(number: int) -> Computation:
    return Computation("features", (f"layer{number}",), 1, Device())


def opened() -> Opened:
    return Opened(Session(), ("y",))


def test_the_one_that_was_not_used_for_longest_is_dropped_and_released() -> None:
    sessions = Sessions(most=2)
    kept = [sessions.keep(computation(k), opened()) for k in (0, 1)]
    ended = [weakref.ref(each.session) for each in kept]
    assert sessions.find(computation(0)) is kept[0]
    sessions.keep(computation(2), opened())
    assert sessions.find(computation(1)) is None
    assert len(sessions) == 2
    assert ended[1]() is not None  # somebody computes with it still
    del kept[1]
    gc.collect()
    assert ended[1]() is None
    assert ended[0]() is not None


def test_the_first_of_two_for_the_same_is_the_one() -> None:
    sessions = Sessions()
    first = sessions.keep(computation(0), opened())
    assert sessions.keep(computation(0), opened()) is first
    assert [*sessions] == [first]
    sessions.drop(computation(0))
    sessions.drop(computation(0))
    assert sessions.find(computation(0)) is None


def test_a_walk_through_them_is_through_those_that_were_there() -> None:
    sessions = Sessions()
    first = sessions.keep(computation(0), opened())
    walk = iter(sessions)
    sessions.keep(computation(1), opened())
    assert [*walk] == [first]


def test_what_differs_in_any_part_is_another_computation() -> None:
    of = ("features", ("a",), 1, Device())
    others = [
        ("gradient", *of[1:]),
        (*of[:1], ("b",), *of[2:]),
        (*of[:2], 2, of[3]),
        (*of[:3], Device("cuda")),
    ]
    assert len({Computation(*each) for each in [of, *others, of]}) == 5  # type: ignore[arg-type]


def test_threads_may_share_them() -> None:
    sessions, failures = Sessions(most=3), []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for number in rng.integers(0, 6, 2000):
                found = sessions.find(computation(number)) or sessions.keep(computation(number), opened())
                assert isinstance(found.session, Session)
                assert len([*sessions]) <= 3
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(sessions) == 3


def test_a_walk_through_layers_does_not_keep_all_sessions() -> None:
    net = sf.load(small_model(), preprocess="none")
    net.sessions = Sessions(most=2)
    expected = [net.features(images(1), [info.name])[0] for info in net.layers]
    assert len(net.sessions) == 2
    for info, value in zip(net.layers, expected, strict=True):
        np.testing.assert_array_equal(net.features(images(1), [info.name])[0], value)


def test_an_engine_outlives_its_place_among_them() -> None:
    net = sf.load(small_model(), preprocess="none")
    engine = Engine(net, sf.Class(1))
    value = engine(images(1))[0]
    net.sessions.clear()
    np.testing.assert_array_equal(engine(images(1))[0], value)


def test_another_process_opens_its_own() -> None:
    net = sf.load(small_model(), preprocess="none", labels=list("abcdef"))
    scores = net.scores(images(1))
    other = pickle.loads(pickle.dumps(net))
    assert (len(net.sessions), len(other.sessions)) == (1, 0)
    np.testing.assert_array_equal(other.scores(images(1)), scores)
    assert other.class_index("c") == 2
    few = pickle.loads(pickle.dumps(Sessions(most=1)))
    for number in range(2):
        few.keep(computation(number), opened())
    assert len(few) == 1  # the bound goes with them


@pytest.mark.parametrize("kind", ["features", "gradient"])
def test_the_same_is_opened_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = sf.load(small_model(), preprocess="none")
    kept: list[Opened] = []
    keep = net.sessions.keep

    def noted(computation: Computation, opened: Opened) -> Opened:
        kept.append(opened)
        return keep(computation, opened)

    monkeypatch.setattr(net.sessions, "keep", noted)
    for _ in range(2):
        net.scores(images(1)) if kind == "features" else Engine(net, sf.Class(0))
    (only,) = net.sessions
    assert kept == [only]
    assert only.outputs == ((net.score_layer,) if kind == "features" else ("value", "gradient"))
