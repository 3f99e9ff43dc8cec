"""Which of the usual pre-processings a network wants, by what it says of photographs under each.

Nothing in an ONNX file says how its images were made, and a wrong guess is the most usual reason why a
network knows nothing. Under the right one it is sure of a photograph, also of its mirror image and of its
middle. A network that is given numbers 255 times too large is sure of anything; what gives it away is how far
apart the scores lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..pictures import fitted
from .classes import Classes
from .preprocess import CONVENTIONS, Preprocess
from .protocol import NetworkLike
from .running import scores_of

USUAL = {**CONVENTIONS, '{"scale": 255}': Preprocess(255.0)}
"""What is tried, as ``preprocess=`` takes it."""

_MOST = 32  # photographs that are asked about: more would tell no more
_SPREAD = 6.0  # standard deviation of the scores of an image; those of trained networks are 1 to 6

Views = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Tried:
    """What a network says of photographs under one pre-processing, where none is known.

    Attributes
    ----------
    preprocess : str
        As ``preprocess=`` and ``--preprocess`` take it.
    support : float
        How much speaks for it, from 0 to 1: one over the number of classes that it hesitates between.
    classes, names, probabilities : tuple, an entry for each of the first 32 photographs
        Its best class.
    """

    preprocess: str
    support: float
    classes: tuple[int, ...]
    names: tuple[str, ...]
    probabilities: tuple[float, ...]


def tried(net: NetworkLike, classes: Classes, u: NDArray[np.float32]) -> tuple[Tried, ...]:
    """What a network says under each that fits, likeliest first.

    Parameters
    ----------
    net : NetworkLike
        Without pre-processing.
    classes : Classes
        Its own.
    u : (N, C, H, W) float32 array
        In [0, 1].
    """
    views = tuple(_views(u[:_MOST]))
    fitting = {k: v for k, v in USUAL.items() if {len(v.mean), len(v.std)} <= {1, u.shape[1]}}
    found = [_under(name, preprocess, net, classes, views) for name, preprocess in fitting.items()]
    return tuple(sorted(found, key=lambda each: -each.support))


def support(classes: Classes, scores: NDArray[np.float64]) -> float:
    """How much speaks for the pre-processing under which a network gives scores (views, N, outputs).

    That is exp(-H), of the mean entropy H of what it says on average of the views of an image, less where the
    scores of the first view have a standard deviation above 6: H + log(std / 6)^2.
    """
    shares = classes.probabilities(scores.reshape(-1, scores.shape[-1])).reshape(scores.shape).mean(axis=0)
    entropy = _surprise(shares) + (_surprise(1 - shares) if classes.independent else 0)
    too_far_apart = np.log(np.maximum(scores[0].std(axis=1) / _SPREAD, 1))
    return float(np.exp(-np.mean(entropy + too_far_apart**2)))


def _surprise(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the sum of p log p, (N,)."""
    found: NDArray[np.float64] = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
    return found


def _views(u: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Images, their mirror images, and their middle four fifths."""
    height, width = u.shape[2:]
    y, x = height // 10, width // 10
    yield u
    yield np.ascontiguousarray(u[..., ::-1])
    yield np.stack([fitted(each[:, y : height - y, x : width - x], (height, width)) for each in u])


def _under(name: str, preprocess: Preprocess, net: NetworkLike, classes: Classes, views: Views) -> Tried:
    scores = np.stack([scores_of(net, classes, _preprocessed(view, preprocess)) for view in views])
    best = classes.ranked(scores[0], 1)[:, 0]
    shares = classes.probabilities(scores[0])[np.arange(len(best)), best + classes.offset]
    return Tried(
        name,
        support(classes, scores),
        tuple(map(int, best)),
        tuple(map(classes.name, best)),
        tuple(shares.tolist()),
    )


def _preprocessed(u: NDArray[np.float32], preprocess: Preprocess) -> NDArray[np.float32]:
    """What a network that takes images as they are has to be given, so that it gets them pre-processed."""
    matrix, bias = preprocess.matrix_and_bias(u.shape[1])
    x = np.einsum("dc,nchw->ndhw", matrix, u) + bias[:, None, None]
    return np.ascontiguousarray(x, np.float32)
