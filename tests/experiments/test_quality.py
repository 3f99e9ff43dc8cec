"""What the pictures are worth: networks that took no part recognise them."""

from __future__ import annotations

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.experiments.demo import schemes
from tests.support.paths import SHARED_MODELS as MODELS

NETWORKS = ("builtin:shapes-vgg", "builtin:shapes-dense")
SEEDS = 8
STEPS, TAU, JITTER = 24, 10 / 255, 8

needs_models = pytest.mark.skipif(
    not MODELS.is_dir(), reason=f"{MODELS} with networks for evaluation is absent"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("maker", "judge"), [NETWORKS, pytest.param(*NETWORKS[::-1], marks=pytest.mark.thorough)]
)
def test_class_preimages_transfer_to_the_other_network(maker: str, judge: str) -> None:
    net, other = sf.load(maker), sf.load(judge)
    classes = np.repeat(np.arange(net.classes), SEEDS)
    scheme = sf.fluid_elastic(sf.filters.Sobolev(size=11))
    result = sf.visualize(
        net,
        sf.Class(classes.tolist()),
        scheme=scheme,
        steps=STEPS,
        tau=TAU,
        jitter=JITTER,
        progress=False,
    )
    own = float((net.top(result.u)[:, 0] == classes).mean())
    transferred = (other.top(result.u)[:, 0] == classes).reshape(-1, SEEDS)
    worst = {other.class_name(k): f"{hits.sum()}/{SEEDS}" for k, hits in enumerate(transferred)}
    print(f"{maker} -> {judge}: own {own:.3f}, transferred {transferred.mean():.3f}, {worst}")
    assert own >= 0.9
    assert transferred.mean() >= 0.75


def squeezenet() -> sf.Network:
    labels = MODELS / "imagenet_classes.txt"
    return sf.load(MODELS / "squeezenet1_1.onnx", preprocess="torch", labels=labels)


@needs_models
@pytest.mark.slow
def test_king_crab_of_a_real_network_under_every_scheme() -> None:
    net = squeezenet()
    wanted = net.class_index("king crab")
    for name, scheme in schemes().items():
        result = sf.visualize(net, sf.Class("king crab"), scheme=scheme, steps=24, progress=False)
        assert net.top(result.u)[0, 0] == wanted, name


@needs_models
def test_a_logit_that_is_dead_at_grey_is_revived() -> None:
    net = squeezenet()
    grey = np.full((1, *net.input_shape), 0.5, np.float32)
    dead = int(np.flatnonzero(net.scores(grey)[0] == 0)[0])
    result = sf.visualize(net, sf.Class(dead), noise=0.0, steps=2, progress=False)
    assert result.history.mean_abs_gradient.min() > 0
    assert "zero at the start" in result.notes[0]
    hint = net.preactivation_hint(sf.Class(dead))
    assert hint is not None
    assert f":{dead}" in hint
