"""What the pictures are worth: a network that took no part recognises them."""

from __future__ import annotations

import numpy as np
import pytest

import sobolevflow as sf

NETWORKS = ("builtin:shapes-vgg", "builtin:shapes-dense")
SEEDS = 8
STEPS, TAU, JITTER = 24, 10 / 255, 8


@pytest.mark.slow
@pytest.mark.parametrize(("maker", "judge"), [NETWORKS, NETWORKS[::-1]])
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
