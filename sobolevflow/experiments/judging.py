"""What is said of pictures: by networks that took no part in them, and by comparison with photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import metrics
from ..arrays import fingerprint
from ..network import Network
from ..results import model_facts
from .cells import Arrays, Store
from .descents import Pictures, fitted
from .folder import Row
from .photographs import Photographs


def recognised(store: Store, judge: Network, u: np.ndarray, classes: Sequence[int]) -> Row:
    """How often a network finds the class of each image.

    Parameters
    ----------
    store : Store
        Keeps what was found, image by image.
    judge : Network
    u : (N, C, H, W) float32 array
        Of any size; it is fitted to the judge's.
    classes : sequence of N int
        Without a background class.

    Returns
    -------
    dict
        ``top1`` and ``top5``, each with Wilson's 95 % interval, ``_low`` and ``_high``; ``probability``, the
        mean that the network gives the class.
    """
    images = fitted(u, judge.input_shape[1:])
    few = min(5, judge.classes)

    def compute() -> Arrays:
        return {
            "top1": metrics.in_top(judge, images, classes),
            "top5": metrics.in_top(judge, images, classes, few),
            "probability": metrics.probability(judge, images, classes),
        }

    key = {"judge": model_facts(judge), "images": fingerprint(images), "classes": [int(k) for k in classes]}
    hits = store.get(key, compute)
    row: Row = {}
    for name in ("top1", "top5"):
        low, high = metrics.proportion_interval(hits[name])
        row |= {name: float(hits[name].mean()), f"{name}_low": low, f"{name}_high": high}
    return {**row, "probability": float(hits["probability"].mean())}


def said_by(store: Store, judges: Sequence[Network], u: np.ndarray, classes: Sequence[Sequence[int]]) -> Row:
    """What each judge recognises, in columns that begin with its name; `classes` has those of each judge."""
    return {
        f"{judge.name}_{name}": value
        for judge, each in zip(judges, classes, strict=True)
        for name, value in recognised(store, judge, u, each).items()
    }


def described(
    store: Store, net: Network, judges: Sequence[Network], pictures: Pictures, classes: Sequence[str | int]
) -> Row:
    """What is said of pictures of classes: by their own network, by others, and by statistics."""
    numbers = [net.classes_of().index(k) for k in classes]
    own = recognised(store, net, pictures.u, numbers)
    return {
        "network": net.name,
        "images": len(numbers),
        "objective": float(pictures.value.mean()),
        **{f"own_{name}": own[name] for name in ("top1", "top5", "probability")},
        **said_by(store, judges, pictures.u, [numbers] * len(judges)),
        **naturalness(pictures.u),
    }


def classes_of(judge: Network, photographs: Photographs) -> tuple[int, ...]:
    """The class of each photograph: by its name, or where names do not tell, what the judge takes it for."""
    if photographs.classes is not None:
        return photographs.classes
    scores = judge.scores(photographs.seen_by(judge))
    return tuple(int(k) for k in judge.classes_of().ranked(scores, 1)[:, 0])


def likeness(store: Store, source: Network, pictures: Pictures, photographs: Photographs) -> Row:
    """How close reconstructions are to the photographs: in the features inverted, and in pixels.

    Returns
    -------
    dict
        ``feature_error``, |Phi(u) - Phi_0|^2 / |Phi_0|^2; ``psnr`` in decibels; ``ssim``. Means.
    """
    originals = photographs.seen_by(source)

    def compute() -> Arrays:
        return {"psnr": metrics.psnr(pictures.u, originals), "ssim": metrics.ssim(pictures.u, originals)}

    alike = store.get({"likeness": fingerprint(pictures.pixels), "to": fingerprint(originals)}, compute)
    return {
        "feature_error": float(np.mean(pictures.value)),
        **{name: float(values.mean()) for name, values in alike.items()},
    }


def naturalness(u: np.ndarray) -> Row:
    """What photographs have in common, and pre-images often have not.

    Returns
    -------
    dict
        ``slope`` of the power spectrum, -2 to -3 in photographs; ``colour``, the share of the standard
        deviation that is not brightness; ``saturated``, the share of values at 0 or 1.
    """
    return {
        "slope": float(np.median(metrics.spectrum_slope(u))),
        "colour": float((u - u.mean(axis=1, keepdims=True)).std() / max(float(u.std()), 1e-12)),
        "saturated": float(((u <= 0) | (u >= 1)).mean()),
    }
