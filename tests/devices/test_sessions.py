"""Which sessions of a network are kept, for how long, and for whom."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.devices import Computation, Device, Opened, Sessions, turn_on
from sobolevflow.gradient import Engine
from tests.support.at_once import at_once
from tests.support.paths import ROOT
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


def noted(net: sf.Network, monkeypatch: pytest.MonkeyPatch) -> list[Opened]:
    """The sessions that a network is given to keep from now on."""
    given: list[Opened] = []
    keep = net.sessions.keep

    def noting(computation: Computation, opened: Opened) -> Opened:
        given.append(opened)
        return keep(computation, opened)

    monkeypatch.setattr(net.sessions, "keep", noting)
    return given


@pytest.mark.parametrize("kind", ["features", "gradient"])
def test_the_same_is_opened_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = sf.load(small_model(), preprocess="none")
    kept = noted(net, monkeypatch)
    for _ in range(2):
        net.scores(images(1)) if kind == "features" else Engine(net, sf.Class(0))
    (only,) = net.sessions
    assert kept == [only]
    assert only.outputs == ((net.score_layer,) if kind == "features" else ("value", "gradient"))


def test_only_the_cpu_runs_a_session_for_several_threads_at_once() -> None:
    for name, most in (("cpu", 2), ("coreml", 1)):
        turn, inside, seen = turn_on(Device(name)), list[int](), list[int]()

        def run(turn: Any = turn, inside: list[int] = inside, seen: list[int] = seen) -> None:
            with turn:
                inside.append(1)
                time.sleep(0.05)
                seen.append(len(inside))
                inside.pop()

        at_once([run] * 2)
        assert max(seen) == most


# --- how much memory they take ---------------------------------------------------------------------


def of_bytes(size: int) -> Opened:
    return Opened(Session(), ("y",), bytes=size)


def test_those_that_do_not_fit_make_room_for_the_last() -> None:
    sessions = Sessions(most_bytes=10)
    for number, size in enumerate((4, 4, 2)):
        sessions.keep(computation(number), of_bytes(size))
    assert (len(sessions), sessions.bytes) == (3, 10)
    assert sessions.find(computation(0)) is not None
    sessions.keep(computation(3), of_bytes(3))
    assert [sessions.find(computation(k)) is not None for k in range(4)] == [True, False, True, True]
    sessions.keep(computation(4), of_bytes(11))  # kept alone, since it is what is computed with
    assert (len(sessions), sessions.bytes) == (1, 11)
    sessions.make_room(1)
    assert len(sessions) == 0


def test_the_bound_may_be_changed_while_they_are_there() -> None:
    sessions = Sessions(most_bytes=10)
    for number in range(5):
        sessions.keep(computation(number), of_bytes(2))
    sessions.most_bytes = 5
    assert [sessions.find(computation(k)) is not None for k in range(5)] == [False] * 3 + [True] * 2
    assert pickle.loads(pickle.dumps(sessions)).most_bytes == 5
    with pytest.raises(sf.errors.InputError, match="most_bytes"):
        sessions.most_bytes = -1


def test_a_session_is_taken_to_hold_its_weights_twice_and_its_activations() -> None:
    few, many = (sf.load(small_model(), preprocess="none") for _ in range(2))
    few.scores(images(1))
    many.scores(images(64))
    assert 2 << 20 < few.sessions.bytes < many.sessions.bytes
    assert few.sessions.most_bytes == 1 << 30


def test_gradient_functions_that_are_kept_do_not_hold_sessions() -> None:
    net = sf.load(small_model(), preprocess="none")
    kept = [sf.value_and_grad(net, sf.Channel(layer, 0)) for layer in ("conv1", "relu1", "conv2")]
    expected = [function(images(1))[1] for function in kept]
    ended = [weakref.ref(opened.session) for opened in net.sessions]
    assert len(ended) == 3
    net.sessions.most_bytes = 0
    gc.collect()
    assert [session() is None for session in ended] == [True, True, False]
    for function, gradient in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(function(images(1))[1], gradient)
        assert len(net.sessions) == 1


def test_closing_a_network_frees_its_sessions_and_a_later_use_opens_them_anew() -> None:
    with sf.load(small_model(), preprocess="none") as net:
        gradient, engine = sf.value_and_grad(net, sf.Class(1)), Engine(net, sf.Class(2))
        expected = [net.scores(images(1)), gradient(images(1))[1], engine(images(1))[1].copy()]
        ended = [weakref.ref(opened.session) for opened in net.sessions]
        assert len(ended) == 2
    gc.collect()
    assert [session() for session in ended] == [None, None]
    found = [net.scores(images(1)), gradient(images(1))[1], engine(images(1))[1]]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_that_want_the_same_open_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = sf.load(small_model(), preprocess="none")
    net.stay_apart([net.score_layer])
    made = noted(net, monkeypatch)
    at_once([lambda: net.scores(images(2)), lambda: sf.value_and_grad(net, sf.Class(0))(images(2))] * 4)
    assert len(made) == len(net.sessions) == 2


OF_300 = """
import resource
import numpy as np
import sobolevflow as sf

net = sf.load("builtin:shapes-vgg", threads=1)
net.sessions.most_bytes = 100 << 20
u = np.full((1, *net.input_shape), 0.5, np.float32)
layers = [i.name for i in net.layers if i.differentiable and i.shape is not None and len(i.shape) == 4]
pairs = [(a, b) for a in layers for b in layers if a != b]
kept, resident = [], []
for a, b in pairs[:300]:
    kept.append(sf.value_and_grad(net, sf.Channel(a, 0) + sf.Channel(b, 1)))
    kept[-1](u)
    resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(len(kept), resident[0], resident[-1], net.sessions.bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of resident memory differs")
def test_memory_stays_bounded_over_many_objectives() -> None:
    """Each of them would hold 7 MB: 2.1 GB."""
    done = subprocess.run(
        [sys.executable, "-c", OF_300], cwd=ROOT, capture_output=True, text=True, check=True
    )
    count, first, last, held = map(float, done.stdout.split())
    assert count == 300
    assert held <= 100 << 20
    assert last - first < 250, "MB"
