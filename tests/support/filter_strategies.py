"""What the property tests of filters draw from: filters of all families, images of all shapes and layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct
from tests.support.filter_oracles import BOUNDARIES, Image, Pair

boundaries: st.SearchStrategy[Any] = st.sampled_from(BOUNDARIES)
dtypes = st.sampled_from((np.float32, np.float64))
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 64)
shapes = st.one_of(
    st.tuples(sides, sides),
    st.tuples(sides, st.just(1)),
    st.tuples(st.just(1), sides),
    st.sampled_from(((1, 1), (64, 64), (2, 64))),
)
sizes = st.integers(1, 20).map(lambda radius: 2 * radius + 1)
methods: st.SearchStrategy[Any] = st.sampled_from(("fir", "dense", "exact"))
finite: st.SearchStrategy[Any] = st.sampled_from(("fir", "dense"))


def strengths(least: float, most: float) -> st.SearchStrategy[Pair]:
    """One number for both axes or a pair, small ones as likely as large ones."""
    one = st.floats(np.log(least), np.log(most)).map(lambda t: float(np.clip(np.exp(t), least, most)))
    return one | st.tuples(one, one)


gammas = strengths(1e-3, 100)
sigmas = strengths(0.05, 8)
real_orders = st.floats(0.25, 3)

# The same values in every way that memory may hold them.
LAYOUTS: dict[str, Callable[[Image], Image]] = {
    "plain": lambda x: x,
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "columns first": np.asfortranarray,
    "every other": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "twice the same": lambda x: np.broadcast_to(x, (2, 1, *x.shape)),  # read-only, with strides of 0
}
layouts = st.sampled_from(tuple(LAYOUTS.values()))


@st.composite
def windows(
    draw: st.DrawFn, method: st.SearchStrategy[Any] = finite, boundary: st.SearchStrategy[Any] = boundaries
) -> Sobolev | Gaussian:
    """Filters with a size, of all strengths, whether those fit or not."""
    common: dict[str, Any] = {"size": draw(sizes), "boundary": draw(boundary), "method": draw(method)}
    if draw(st.booleans()):
        return Gaussian(sigma=draw(sigmas), **common)
    return Sobolev(gamma=draw(gammas), order=draw(real_orders), **common)


def families(boundary: st.SearchStrategy[Any] = boundaries) -> st.SearchStrategy[Any]:
    """Filters that are not made of others, by all methods."""
    return st.one_of(
        windows(methods, boundary),
        st.builds(Sobolev, size=sizes.filter(lambda size: size < 30), boundary=boundary),
        st.builds(Sobolev, gamma=gammas, order=real_orders, boundary=boundary),
        st.builds(Gaussian, sigma=sigmas, boundary=boundary),
        st.builds(SobolevProduct, gammas, st.integers(1, 3), boundary),
    )


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """All families and what can be made of them, with different boundaries too."""
    part = families() | st.just(Identity())
    f: Filter = draw(part)
    for other in draw(st.lists(part, max_size=2)):
        f = f @ other if draw(st.booleans()) else draw(st.floats(-2, 2)) * f + other
    return f
