"""Which pixels an objective's value comes from: saliency, SmoothGrad, integrated gradients, Grad-CAM.

All but Grad-CAM are a few evaluations of `value_and_grad`; Grad-CAM differentiates with respect to a layer in
place of the image. Every function takes images as `value_and_grad` does, (N, C, H, W) or (C, H, W) in [0, 1],
of any array library, and returns new float32 arrays of that library, where the images lie, with the same
leading axes. A map of a batch is that of its images one by one. `heatmap` makes pictures of maps;
`to_original` brings maps back to the size and the coordinates of the photograph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import checks
from .arrays import AnyArray, Array, borrow_numbers, hand_back, shape_of, to_host
from .capacity import check_fits
from .devices import Device
from .errors import GradientError, InputError, warn
from .gradient import Engine, GradientFunction, value_and_grad
from .maps import told
from .network import Network, Positions, gradient_path, last_with_positions, positions
from .objectives import Objective, check_asked
from .pictures import heatmap, to_original

__all__ = [
    "completeness_error",
    "default_layer",
    "grad_cam",
    "heatmap",
    "integrated_gradients",
    "saliency",
    "smooth_grad",
    "to_original",
]

Reduction = Literal["max", "norm", "sum"] | None
Smoothing = Callable[[Array], Array] | None

_REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "max": lambda g: np.abs(g).max(axis=-3),
    "norm": lambda g: np.sqrt(np.square(g).sum(axis=-3)),
    "sum": lambda g: g.sum(axis=-3),
}


@overload
def saliency(
    net: Network,
    objective: Objective,
    u: NDArray[Any],
    *,
    filter: Smoothing = ...,
    reduce: Reduction = ...,
    device: str | Device = ...,
) -> NDArray[np.float32]: ...


@overload
def saliency(
    net: Network,
    objective: Objective,
    u: AnyArray,
    *,
    filter: Smoothing = ...,
    reduce: Reduction = ...,
    device: str | Device = ...,
) -> AnyArray: ...


def saliency(
    net: Network,
    objective: Objective,
    u: Any,
    *,
    filter: Smoothing = None,
    reduce: Reduction = "max",
    device: str | Device = "cpu",
) -> Any:
    """How strongly each pixel moves the objective: the size of its gradient.

    Parameters
    ----------
    net : Network
    objective : Objective
    u : array, shape (N, C, H, W) or (C, H, W)
        Floating point, in [0, 1].
    filter : Filter, optional
        Smooth the gradient g before its size is taken. With K = ``sf.filters.Sobolev(...)``, K * g is
        the gradient in H^1 in place of L^2 (eq. (16), (17) of [2]_), the direction of steepest ascent
        among changes whose own gradient counts too. Noise of alternating sign, which dominates
        the plain gradient, cancels; to smooth the map afterwards would only blur it.
    reduce : {"max", "norm", "sum", None}
        What becomes of the channels: the largest size (as in [1]_), the Euclidean norm, the signed
        sum, or nothing: the signed gradient, of the shape of `u`.
    device : str or Device
        Where the gradient is computed; what is made of it is made where `u` lies, as far as NumPy or CuPy
        reach it.

    Returns
    -------
    array, shape (N, H, W) or (H, W), float32
        In units of the objective per unit of the image.

    Raises
    ------
    InputError
        `u` does not fit the network, or `reduce` is unknown.
    GradientError
        The gradient is not finite.

    Notes
    -----
    Costs one evaluation of the gradient.

    References
    ----------
    .. [1] K. Simonyan, A. Vedaldi, A. Zisserman, "Deep inside convolutional networks: visualising
       image classification models and saliency maps", ICLR workshop, 2014. arXiv:1312.6034
    .. [2] M. Baust et al., "Understanding regularization to visualize convolutional neural networks",
       2018. arXiv:1805.00071

    Examples
    --------
    >>> m = saliency(net, Class("king crab"), u, filter=Sobolev(gamma=20))  # doctest: +SKIP
    """
    _check_reduction(reduce)
    _check_filter(filter)
    check_asked(net, objective)
    image = borrow_numbers(u, "u")
    gradient = value_and_grad(net, objective.at(image), device=device)(image)[1]
    return hand_back(_reduced(_smoothed(gradient, filter), reduce), u)


@overload
def smooth_grad(
    net: Network,
    objective: Objective,
    u: NDArray[Any],
    *,
    samples: int = ...,
    noise: float = ...,
    seed: int = ...,
    filter: Smoothing = ...,
    reduce: Reduction = ...,
    device: str | Device = ...,
) -> NDArray[np.float32]: ...


@overload
def smooth_grad(
    net: Network,
    objective: Objective,
    u: AnyArray,
    *,
    samples: int = ...,
    noise: float = ...,
    seed: int = ...,
    filter: Smoothing = ...,
    reduce: Reduction = ...,
    device: str | Device = ...,
) -> AnyArray: ...


def smooth_grad(
    net: Network,
    objective: Objective,
    u: Any,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    filter: Smoothing = None,
    reduce: Reduction = "max",
    device: str | Device = "cpu",
) -> Any:
    """The gradient averaged over noisy copies of the image (SmoothGrad).

    Parameters
    ----------
    net : Network
    objective : Objective
    u : array, shape (N, C, H, W) or (C, H, W)
        Floating point, in [0, 1]. The noisy copies are not clipped.
    samples : int
        Number of copies.
    noise : float
        Standard deviation of the Gaussian noise, relative to max(u) - min(u) of each image.
    seed : int
        Of the noise. All images of a batch get the same, each on its own scale.
    filter : Filter, optional
        Smooth the mean gradient, as in `saliency`.
    reduce : {"max", "norm", "sum", None}
        What becomes of the channels, as in `saliency`; None gives the signed mean gradient.
    device : str or Device
        As in `saliency`.

    Returns
    -------
    array, shape (N, H, W) or (H, W), float32

    Raises
    ------
    InputError
        `u` does not fit the network, or a parameter is out of range.
    GradientError
        A gradient is not finite.

    Notes
    -----
    Costs `samples` evaluations of the gradient. They go through one engine, one copy of each image
    at a time: more copies at once take as long on a processor, and much more memory.

    References
    ----------
    .. [1] D. Smilkov, N. Thorat, B. Kim, F. Viegas, M. Wattenberg, "SmoothGrad: removing noise by
       adding noise", 2017. arXiv:1706.03825
    """
    objective = check_asked(net, objective)
    _check_reduction(reduce)
    _check_filter(filter)
    images = to_host(net.check_image(u))
    count = checks.count(samples, "samples")
    level = np.float32(checks.single(checks.nonnegative(noise, "noise"), "noise"))
    spread = level * np.ptp(images, axis=(1, 2, 3), keepdims=True)
    gradient = GradientFunction(net, objective.at(images), device, bounded=False)  # noise goes beyond [0, 1]
    rng = np.random.default_rng(checks.count(seed, "seed", least=0, most=2**128 - 1))
    total = np.zeros(images.shape)
    for _ in range(count):
        total += gradient(images + spread * rng.standard_normal(images.shape[1:], np.float32))[1]
    mean = (total / count).astype(np.float32).reshape(shape_of(u))
    return hand_back(_reduced(_smoothed(mean, filter), reduce), u)


@overload
def integrated_gradients(
    net: Network,
    objective: Objective,
    u: NDArray[Any],
    *,
    baseline: Any = ...,
    steps: int = ...,
    reduce: Reduction = ...,
    device: str | Device = ...,
) -> NDArray[np.float32]: ...


@overload
def integrated_gradients(
    net: Network,
    objective: Objective,
    u: AnyArray,
    *,
    baseline: Any = ...,
    steps: int = ...,
    reduce: Reduction = ...,
    device: str | Device = ...,
) -> AnyArray: ...


def integrated_gradients(
    net: Network,
    objective: Objective,
    u: Any,
    *,
    baseline: Any = 0.0,
    steps: int = 50,
    reduce: Reduction = None,
    device: str | Device = "cpu",
) -> Any:
    """What each value of the image contributes to the objective, compared with a baseline.

    ``(u - b) * integral over t in [0, 1] of gradient(b + t (u - b))``, entry by entry. The
    contributions add up to f(u) - f(b): see `completeness_error`.

    Parameters
    ----------
    net : Network
    objective : Objective
    u : array, shape (N, C, H, W) or (C, H, W)
        Floating point, in [0, 1].
    baseline : float or array
        The image b without content; anything, of any library, that can be broadcast to the shape of `u`. 0,
        the choice of [1]_, is black, and gives no contribution to black pixels: where those matter, take mid
        grey or a blurred copy.
    steps : int
        Number of gradients that the integral is approximated by.
    reduce : {"max", "norm", "sum", None}
        What becomes of the channels, as in `saliency`; "sum" keeps the signs and the total.
    device : str or Device
        As in `saliency`.

    Returns
    -------
    array, shape of `u` (without C where reduced), float32
        Signed, in units of the objective.

    Raises
    ------
    InputError
        `u` does not fit the network, `baseline` does not fit `u`, or a parameter is out of range.
    GradientError
        A gradient is not finite.

    Notes
    -----
    Costs `steps` evaluations of the gradient. The quadrature is Gauss and Legendre's: exact for
    networks that are polynomials of degree 2 `steps` along the way, and with nodes close together
    at its ends, where the gradients of real networks change most. With rectifiers the integrand jumps
    and no rule converges faster than 1 / `steps`, but docs/attribution.md has the errors of this one
    beside those of the midpoint rule.

    References
    ----------
    .. [1] M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep networks", ICML 2017.
       arXiv:1703.01365
    """
    objective = check_asked(net, objective)
    _check_reduction(reduce)
    count = checks.count(steps, "steps")
    check_fits(8 * count**2, f"the quadrature of {count} steps", "take fewer, steps=200 for one")
    images = to_host(net.check_image(u))
    start = _baseline(net, baseline, shape_of(u)).reshape(images.shape)
    way, gradient = images - start, GradientFunction(net, objective.at(images), device, bounded=False)
    nodes, weights = np.polynomial.legendre.leggauss(count)
    integral = np.zeros(images.shape)
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        integral += weight * gradient(start + np.float32(t) * way)[1]
    return hand_back(_reduced((way * integral).astype(np.float32).reshape(shape_of(u)), reduce), u)


@overload
def completeness_error(
    net: Network, objective: Objective, u: NDArray[Any], attribution: Any, *, baseline: Any = ...
) -> NDArray[np.float64]: ...


@overload
def completeness_error(
    net: Network, objective: Objective, u: AnyArray, attribution: Any, *, baseline: Any = ...
) -> AnyArray: ...


def completeness_error(
    net: Network, objective: Objective, u: Any, attribution: Any, *, baseline: Any = 0.0
) -> Any:
    """How far integrated gradients are from adding up: sum(attribution) - (f(u) - f(baseline)).

    Zero for the exact integral; more `steps` make it smaller.

    Parameters
    ----------
    net : Network
    objective : Objective
    u : array, shape (N, C, H, W) or (C, H, W)
    attribution : ndarray
        Of `integrated_gradients` at the same arguments, with ``reduce=None`` or "sum".
    baseline : float or array

    Returns
    -------
    array, shape (N,), float64

    Raises
    ------
    InputError
        The shapes do not fit.
    """
    objective = check_asked(net, objective)
    images = to_host(net.check_image(u))
    given, shape = to_host(borrow_numbers(attribution, "attribution")), shape_of(u)
    if given.shape not in (shape, (*shape[:-3], *shape[-2:])):
        raise InputError(f"an attribution of shape {given.shape} does not belong to images of shape {shape}")
    start = _baseline(net, baseline, shape).reshape(images.shape)
    value = GradientFunction(net, objective.at(images), "cpu", bounded=False)
    total = given.reshape(len(images), -1).sum(axis=1, dtype=np.float64)
    return hand_back(total - (value(images)[0] - value(start)[0]), u)


@overload
def grad_cam(
    net: Network,
    objective: Objective,
    u: NDArray[Any],
    layer: str | None = ...,
    *,
    signed: bool = ...,
    device: str | Device = ...,
) -> NDArray[np.float32]: ...


@overload
def grad_cam(
    net: Network,
    objective: Objective,
    u: AnyArray,
    layer: str | None = ...,
    *,
    signed: bool = ...,
    device: str | Device = ...,
) -> AnyArray: ...


def grad_cam(
    net: Network,
    objective: Objective,
    u: Any,
    layer: str | None = None,
    *,
    signed: bool = False,
    device: str | Device = "cpu",
) -> Any:
    """Where in the image a layer holds evidence for the objective (Grad-CAM).

    ``relu(sum_c w_c A_c)`` for the layer's activation A, weighted by the spatial mean w_c of the
    gradient of the objective with respect to A_c; interpolated to the size of the image.

    Parameters
    ----------
    net : Network
    objective : Objective
    u : array, shape (N, C, H, W) or (C, H, W)
        Floating point, in [0, 1].
    layer : str, optional
        A layer with channels and positions before the objective: a map, (N, C, H, W) or (N, H, W, C), or
        tokens (N, T, D) that are the rows of one, with others beside, such as a class token, left out.
        Default: the last one, pools left aside (`default_layer`).
    signed : bool
        Keep evidence against the objective too, as negative values, which the rectifier cuts away.
    device : str or Device
        As in `saliency`.

    Returns
    -------
    array, shape (N, H, W) or (H, W), float32
        Not normalised; not negative unless `signed`.

    Warns
    -----
    AssumptionWarning
        The map of an image is zero everywhere; says why, and what to try.

    Raises
    ------
    UnknownNameError
        There is no such layer.
    InputError
        `u` does not fit the network; the layer has no positions, or the objective does not depend on it.
        Names layers that can be asked for.
    GradientError
        The gradient is not finite.

    Notes
    -----
    Costs less than one evaluation of the gradient: the backward pass ends at the layer. The
    interpolation is bilinear on half-pixel centres. For a network that ends in global average
    pooling and a linear layer, w is that layer's row of weights divided by the number of positions.

    References
    ----------
    .. [1] R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via
       gradient-based localization", ICCV 2017. arXiv:1610.02391
    """
    objective = check_asked(net, objective)
    signed = checks.flag(signed, "signed")
    images = to_host(net.check_image(u))
    objective = objective.at(images)
    maps = _positions_before(net, objective)
    if layer is None:
        layer = default_layer(net, objective)
    elif checks.text(layer, "layer", "the name of one") not in maps:
        layer = net.layer_name(layer)
    if layer not in maps:
        raise _no_map(net, objective, layer, list(maps))
    activation, gradient = _layer_and_gradient(net, objective, images, layer, Device.of(device))
    held, moved = (maps[layer].unfolded(x) for x in (activation, gradient))
    evidence = np.einsum("nhwc,nc->nhw", held, moved.mean(axis=(1, 2)))
    cam = evidence if signed else np.maximum(evidence, 0)
    _say_empty(cam, held, moved, layer, objective)
    rows, columns = (_bilinear(n, m) for n, m in zip(cam.shape[1:], images.shape[2:], strict=True))
    cam = np.asarray(rows @ cam @ columns.T, np.float32)
    return hand_back(cam.reshape(*shape_of(u)[:-3], *images.shape[2:]), u)


def default_layer(net: Network, objective: Objective) -> str:
    """The layer that `grad_cam` looks at unless told: the last one with positions before the objective.

    It lies on the path from the image to the objective, so that no gradient passes beside it, and no pool
    made it. In a transformer whose score is read from a class token it is the last one behind which positions
    look at each other, the first normalization of the last block; in a quantised network the real numbers of
    such a layer. Before an objective with positions of its own, as a channel of a segmentation or of
    the boxes of a detector, it is the last of the smallest maps, where the encoder ends: later ones would
    show the objective itself.

    Raises
    ------
    InputError
        There is none before the objective, or only one of the stem of a transformer, behind which the network
        does not show where its tokens lie: it holds little of what the network has learned.
    UnsupportedOpError, GradientError
        No gradient of the objective reaches the image; says why, and which layers have one.
    """
    objective = check_asked(net, objective)
    last, early = last_with_positions(net, [leaf.tensor(net) for leaf in objective.leaves()])
    if last is None:
        layers = [leaf.tensor(net) for leaf in objective.leaves()]
        for layer in layers:
            net.check_differentiable(layer)
        if not any(net.layer(layer).differentiable for layer in layers):
            raise net.unreached(f"no gradient of {objective} reaches the image")
        raise InputError(
            f"{net.name}: no layer before {objective} has channels and positions, which Grad-CAM needs"
        )
    if early:
        raise InputError(
            f"{net.name}: behind {last!r} it works on tokens as a transformer does, and where these lie in "
            f"the image it does not show. If the map will do, name it: layer={last!r} (--layer {last})"
        )
    return last


def _positions_before(net: Network, objective: Objective) -> dict[str, Positions]:
    """The layers with positions that the objective depends on, in the file's order."""
    return positions(net, gradient_path(net, [leaf.tensor(net) for leaf in objective.leaves()]))


def _no_map(net: Network, objective: Objective, layer: str, usable: list[str]) -> InputError:
    """Why Grad-CAM cannot look at a layer, and at which it can."""
    info = net.layer(layer)  # complains about a name that does not exist
    if layer in positions(net, gradient_path(net, [layer])):
        reason = f"{objective} does not depend on it"
    else:
        reason = f"of shape {info.shape} it has no channels and positions that lie in the image"
    last = ", ".join(usable[-3:][::-1]) or "none"
    return InputError(
        f"{net.name}: Grad-CAM cannot look at layer {layer!r}: {reason}. "
        f"The last layers before the objective that it can look at: {last}"
    )


def _say_empty(cam: Array, held: Array, gradient: Array, layer: str, objective: Objective) -> None:
    """Say of maps that are zero everywhere why they are."""
    for k in np.flatnonzero(~cam.any(axis=(1, 2))):
        weights, remedy = gradient[k].mean(axis=(0, 1)), "another layer"
        if not held[k].any():
            why, remedy = f"layer {layer!r} is zero everywhere", "another image or layer"
        elif not gradient[k].any():
            why = f"{objective} does not change with layer {layer!r} at all here"
        elif not weights.any():
            why = f"the gradient at layer {layer!r} has mean zero in every channel"
        elif not (held[k] * weights).any():
            why = f"the channels of layer {layer!r} that {objective} changes with are zero everywhere"
        else:
            why = f"layer {layer!r} holds nothing that speaks for {objective}, only against it"
            remedy = "signed=True (--signed), which shows that, or another layer"
        of = "the map" if len(cam) == 1 else f"the map of image {k}"
        warn(f"{of} is zero everywhere: {why}; try {remedy}")


def _layer_and_gradient(
    net: Network, objective: Objective, images: Array, layer: str, device: Device
) -> tuple[Array, Array]:
    """A layer's activation at `images`, and the objective's gradient with respect to it."""
    once = replace(device, graphs=False)  # a single run does not pay for capturing it
    engine = Engine(net, objective, batch=len(images), device=once, wrt=layer)
    found = to_host(engine(images)[1]), to_host(engine.activation)
    if not all(np.isfinite(each).all() for each in found):
        raise GradientError(engine.blame(images))
    return found[1], found[0]


def _bilinear(source: int, target: int) -> NDArray[np.float32]:
    """The (target, source) matrix of linear interpolation on half-pixel centres; constant at the borders."""
    centres = ((np.arange(target) + 0.5) * source / target - 0.5).clip(0, source - 1)
    return np.asarray((1 - np.abs(np.arange(source) - centres[:, None])).clip(0), np.float32)


def _reduced(gradient: Array, reduce: Reduction) -> Array:
    return gradient if reduce is None else _REDUCTIONS[reduce](gradient)


def _smoothed(gradient: Array, filter: Smoothing) -> Array:
    if filter is None:
        return gradient
    smooth = told(filter, -3)(gradient)
    if getattr(smooth, "shape", None) != gradient.shape:
        raise InputError(
            f"the filter makes {checks.shown(smooth)} of a gradient of shape {gradient.shape}; it must "
            "return an array of that shape, as those of sf.filters do"
        )
    return smooth


def _check_filter(filter: Any) -> None:
    if not (filter is None or callable(filter)) or isinstance(filter, type):
        checks.refuse(filter, "filter", "one such as sf.filters.Sobolev(gamma=4), or None")


def _check_reduction(reduce: Any) -> None:
    if reduce is not None and not (isinstance(reduce, str) and reduce in _REDUCTIONS):
        checks.refuse(reduce, "reduce", f"one of {', '.join(map(repr, _REDUCTIONS))} or None")


def _baseline(net: Network, baseline: Any, shape: tuple[int, ...]) -> Array:
    """The baseline, of any library, in the shape of the image."""
    given = to_host(borrow_numbers(baseline, "the baseline"))
    try:
        whole = np.broadcast_to(given, shape)
    except ValueError:
        raise InputError(f"a baseline of shape {given.shape} does not fit images of shape {shape}") from None
    with np.errstate(over="ignore"):  # what is beyond single precision is refused
        full = whole.astype(np.float32)
    if not np.isfinite(full).all():
        raise InputError("the baseline holds NaN or infinite values")
    if not net.latent:
        checks.say_far_outside("the baseline", float(full.min()), float(full.max()))
    return full
