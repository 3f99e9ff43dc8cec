"""Einsum with an ellipsis, with diagonals and with axes of size 1 that are repeated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sobolevflow.errors import UnsupportedOpError
from tests.support.gradient_cases import Var, case, check

Shapes = list[tuple[int, ...]]

EQUATIONS: list[tuple[str, Shapes]] = [
    ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
    ("...ij,...jk->...ik", [(2, 5, 3, 4), (2, 5, 4, 2)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (1, 5, 4, 2)]),
    ("...ij,jk->...ik", [(2, 3, 4), (4, 5)]),
    ("...ij,...jk", [(2, 3, 4), (2, 4, 5)]),
    ("i...,i...->...", [(3, 2), (3, 2)]),
    ("...,...->...", [(2, 3), (2, 3)]),
    ("b...c->bc...", [(2, 3, 4, 5)]),
    ("...ii->...i", [(2, 3, 3)]),
    ("ii->i", [(3, 3)]),
    ("ii->", [(3, 3)]),
    ("ii", [(3, 3)]),
    ("bii->bi", [(2, 3, 3)]),
    ("ibi->bi", [(3, 2, 3)]),
    ("iji->j", [(3, 2, 3)]),
    ("ii,ij->j", [(3, 3), (3, 4)]),
    ("ij,ii->ij", [(3, 4), (3, 3)]),
    ("ij,jk->ik", [(2, 1), (3, 4)]),
    ("ij,ij->ij", [(2, 3), (2, 1)]),
    ("ij,ij->i", [(2, 3), (1, 3)]),
    ("ij,ij->i", [(2, 1), (2, 3)]),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS, ids=str)
def test_einsum(equation: str, shapes: Shapes) -> None:
    rng = np.random.default_rng(5)
    operands = [Var(rng.standard_normal(shape)) for shape in shapes]
    check(case("Einsum", *operands, equation=equation))


@settings(max_examples=60)
@given(
    st.lists(st.text("abc", min_size=0, max_size=3), min_size=1, max_size=3),
    st.data(),
    st.tuples(st.integers(2, 4), st.integers(2, 4), st.integers(2, 4)),
)
def test_einsum_of_any_indices(terms: list[str], data: st.DataObject, sizes: tuple[int, int, int]) -> None:
    size = dict(zip("abc", sizes, strict=True))
    letters = sorted(set(itertools.chain(*terms)))
    out = "".join(data.draw(st.permutations(letters)))[: data.draw(st.integers(0, len(letters)))]
    rng = np.random.default_rng(6)
    operands = [Var(rng.standard_normal([size[c] for c in term])) for term in terms]
    check(case("Einsum", *operands, equation=",".join(terms) + "->" + out))


def test_an_output_whose_shape_is_not_known_is_refused() -> None:
    which = case("Einsum", Var(np.ones((2, 1))), Var(np.ones((2, 3))), equation="ij,ij->ij")
    with pytest.raises(UnsupportedOpError, match=r"Einsum .*size 1 is repeated"):
        check(which)
