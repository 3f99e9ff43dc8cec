"""Natural colours: updates whose colours vary as those of photographs do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from .. import checks
from ..arrays import (
    AnyArray,
    Array,
    ChannelsFirst,
    borrow_numbers,
    check_finite,
    constant_beside,
    namespace,
    on_stream_of,
    shape_of,
    to_host,
)
from ..errors import InputError
from ..named import named
from .base import Map

Rows = tuple[tuple[float, ...], ...]

PHOTOGRAPHS: Rows = ((0.98, 0.87, 0.79), (0.87, 0.96, 0.91), (0.79, 0.91, 1.06))
"""Covariance of red, green and blue, of mean variance 1, over the pixels of 200 photographs of ImageNet's
classes. What lucid decorrelates by (Olah, Mordvintsev and Schubert, Distill 2017) differs by 0.02 at most."""


@named("operator", "natural-colour")
@dataclass(frozen=True)
class NaturalColour(Map):
    """Multiplies the channels of each pixel by the covariance of natural colours; for the place of K_f.

    In photographs the channels rise and fall together: nine tenths of the variance are of brightness. The
    gradient of a network knows nothing of that, and an image descended along it is garish. With C the
    covariance, K_f = C K is plain descent in coordinates in which natural colours are uncorrelated, with K as
    the filter: for u = A v and C = A A^T the gradient by v is A^T g, and its step moves u by -tau A A^T g.
    C is symmetric and positive, so that it only preconditions: it changes the way, not the minima.

    Parameters
    ----------
    covariance : ((float, ...), ...)
        Symmetric and positive definite, C x C; that of `PHOTOGRAPHS` unless given. It is divided by its mean
        diagonal element, so that grey updates keep about their size.

    Examples
    --------
    >>> K_f = NaturalColour() @ filters.Sobolev(gamma=1000)  # doctest: +SKIP
    >>> visualize(net, Class("tabby"), scheme=fluid(K_f), optimizer="momentum", tau=1 / 255,
    ...           schedule="cosine", normalise="after", jitter=16, rotate=8, zoom=0.1)  # doctest: +SKIP
    """

    queues: ClassVar[bool] = True
    takes_channel_axis: ClassVar[bool] = True

    covariance: Rows = PHOTOGRAPHS

    def __post_init__(self) -> None:
        try:
            matrix = to_host(borrow_numbers(self.covariance, "covariance")).astype(np.float64)
        except InputError:
            matrix = np.empty(0)
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
        if not (square and np.isfinite(matrix).all() and np.allclose(matrix, matrix.T)):
            raise InputError(
                "NaturalColour needs a symmetric matrix of finite numbers, got "
                f"{checks.shown(self.covariance)}."
            )
        if np.linalg.eigvalsh(matrix)[0] <= 0:
            raise InputError(
                "NaturalColour needs a positive definite matrix; with another one, what it takes away of a "
                "colour never comes back."
            )
        # what a manifest brings back are lists
        object.__setattr__(self, "covariance", tuple(tuple(map(float, row)) for row in matrix))

    @cached_property
    def matrix(self) -> Array:
        """The covariance, divided by its mean diagonal element."""
        matrix = np.array(self.covariance)
        return np.asarray(matrix * (len(matrix) / math.fsum(np.diag(matrix))))

    def __call__(self, g: AnyArray, *, channel_axis: int | None = -3) -> AnyArray:
        """Multiply `g` channels by channels.

        Parameters
        ----------
        g
            Shape (..., C, H, W), of any array library and floating dtype as for filters.
        channel_axis
            The axis that holds the channels, which there have to be: the one before (H, W) unless given.

        Returns
        -------
        array
            Library, device, shape, dtype and order of axes in memory of `g`.

        Raises
        ------
        InputError
            `g` has another number of channels, or none, or values on the host that are not finite.
        """
        if channel_axis is None or len(shape_of(g)) < 3:
            raise self._misfit(g)
        with on_stream_of(g):
            view = ChannelsFirst.borrow(g, channel_axis, "g")
            check_finite(view.memory, "g")
            if view.images.shape[-3] != len(self.matrix):
                raise self._misfit(g)
            C = constant_beside(view.images, self.matrix)
            flat = namespace(view.images).ascontiguousarray(view.images).reshape(*view.images.shape[:-2], -1)
            with np.errstate(over="ignore"):  # what is too large is given as it is, as by filters
                mixed = C @ flat
            return view.lend(mixed.reshape(view.images.shape))  # type: ignore[no-any-return]

    def _misfit(self, g: Any) -> InputError:
        return InputError(
            f"NaturalColour is of {len(self.matrix)} channels, but the image has shape "
            f"{shape_of(g)}; say which channel_axis holds them, or give it a covariance of the "
            f"image's channels."
        )
