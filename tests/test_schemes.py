from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

import sobolevflow as sf
from sobolevflow.arrays.borrowing import Array
from sobolevflow.errors import InputError
from sobolevflow.filters import Gaussian, Identity, Sobolev
from sobolevflow.proximal import TotalVariation
from sobolevflow.schemes import Dirichlet, Scheme, SmoothedTV
from tests.support.analytic import neumann_laplacian

TAU = 0.3
FILTERS: dict[str, Callable[[Array], Array]] = {
    "identity": Identity(),
    "gaussian": Gaussian(size=5),
    "sobolev": Sobolev(size=7),
}


def images(seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    u = rng.random((2, 3, 8, 8), dtype=np.float32)
    return u, rng.standard_normal((2, 3, 8, 8), dtype=np.float32)


def by_hand(name: str, x: Array) -> Array:
    """The filter as a plain sum over its kernel with reflected borders, in float64."""
    if name == "identity":
        return x.astype(np.float64)
    kernel = FILTERS[name].kernel()  # type: ignore[attr-defined]
    return np.asarray(scipy.ndimage.correlate(x.astype(np.float64), kernel[None, None], mode="reflect"))


@pytest.mark.parametrize(("fluid", "elastic"), list(itertools.product(FILTERS, FILTERS)))
def test_step_is_equation_18(fluid: str, elastic: str) -> None:
    u, g = images()
    scheme = Scheme(K_f=FILTERS[fluid], K_e=FILTERS[elastic])
    expected = by_hand(elastic, u - TAU * by_hand(fluid, g))
    found, state = scheme.step(u, g, TAU)
    np.testing.assert_allclose(found, expected, atol=5e-6)
    assert found.dtype == np.float32
    assert state is None


def test_step_changes_neither_image_nor_gradient() -> None:
    u, g = images()
    kept = u.copy(), g.copy()
    sf.fluid_elastic(Sobolev(size=7)).step(u, g, TAU)
    sf.gradient_descent(Dirichlet(0.1)).step(u, g, TAU)
    np.testing.assert_array_equal(u, kept[0])
    np.testing.assert_array_equal(g, kept[1])


@pytest.mark.parametrize(
    ("scheme", "fluid", "elastic"),
    [
        (sf.gradient_descent(), "identity", "identity"),
        (sf.fluid(FILTERS["sobolev"]), "sobolev", "identity"),
        (sf.elastic(FILTERS["gaussian"]), "identity", "gaussian"),
        (sf.fluid_elastic(FILTERS["sobolev"]), "sobolev", "sobolev"),
        (sf.fluid_elastic(FILTERS["gaussian"], FILTERS["sobolev"]), "gaussian", "sobolev"),
    ],
)
def test_named_schemes_are_special_cases(scheme: Scheme, fluid: str, elastic: str) -> None:
    u, g = images(1)
    expected, _ = Scheme(K_f=FILTERS[fluid], K_e=FILTERS[elastic]).step(u, g, TAU)
    np.testing.assert_array_equal(scheme.step(u, g, TAU)[0], expected)


def test_elastic_sobolev_solves_the_quadratic_problem_of_equation_8() -> None:
    u, g = images(2)
    scheme = sf.elastic(Sobolev(gamma=0.8, method="exact"))
    system = sp.eye(64) - 0.8 * neumann_laplacian(8, 8)
    right = (u - TAU * g).reshape(6, 64).astype(np.float64)
    expected = np.stack([spsolve(system.tocsc(), plane) for plane in right]).reshape(u.shape)
    np.testing.assert_allclose(scheme.step(u, g, TAU)[0], expected, atol=2e-6)


def rof_energy(v: Array, f: Array, weight: float) -> float:
    """1/2 |v - f|^2 + weight TV(v), colours coupled, by explicit differences."""
    down = np.diff(v, axis=-2, append=v[..., -1:, :])
    right = np.diff(v, axis=-1, append=v[..., :, -1:])
    tv = np.sqrt((down**2 + right**2).sum(axis=1)).sum()
    return float(0.5 * ((v - f) ** 2).sum() + weight * tv)


def test_proximal_tv_step_minimises_the_rof_energy() -> None:
    u, g = images(3)
    weight, f = 0.1, u.astype(np.float64) - TAU * g
    found, state = sf.proximal_tv(weight, tol=1e-5, max_iterations=5000).step(u, g, TAU)
    best = rof_energy(found.astype(np.float64), f, weight)
    rng = np.random.default_rng(4)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(5):
            other = found + size * rng.standard_normal(u.shape)
            assert rof_energy(other, f, weight) > best - 1e-4
    assert state is not None
    assert state.converged


def test_proximal_tv_of_a_step_edge_is_known_in_closed_form() -> None:
    # Two flat halves 1 apart: each moves towards the other by weight times edge length over its area.
    u = np.zeros((1, 1, 8, 8), np.float32)
    u[..., 4:] = 1
    found, _ = sf.proximal_tv(0.2, tol=1e-6, max_iterations=5000).step(u, np.zeros_like(u), TAU)
    np.testing.assert_allclose(found[..., :4], 0.2 * 8 / 32, atol=1e-3)
    np.testing.assert_allclose(found[..., 4:], 1 - 0.2 * 8 / 32, atol=1e-3)


def test_proximal_tv_filters_the_update_first() -> None:
    u, g = images(5)
    K = Gaussian(size=5)
    expected, _ = sf.proximal_tv(0.05).step(u, np.ascontiguousarray(K(g)), TAU)
    found, _ = sf.proximal_tv(0.05, K).step(u, g, TAU)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_tv_starts_warm_from_the_state_of_the_step_before() -> None:
    u, g = images(6)
    scheme = sf.proximal_tv(0.2, tol=1e-4, max_iterations=2000)
    _, cold = scheme.step(u, g, TAU)
    _, warm = scheme.step(u, g, TAU, cold)
    assert cold is not None
    assert warm is not None
    assert warm.iterations < cold.iterations / 2


def gradient_by_differences(penalty: Dirichlet | SmoothedTV, u: Array) -> Array:
    h = 1e-6
    out = np.empty_like(u)
    for index in np.ndindex(u.shape):
        ahead, behind = u.copy(), u.copy()
        ahead[index] += h
        behind[index] -= h
        out[index] = (penalty.energy(ahead) - penalty.energy(behind))[index[0]] / (2 * h)
    return out


@pytest.mark.parametrize(
    "penalty", [Dirichlet(0.7), SmoothedTV(0.7, 0.05), SmoothedTV(0.7, 0.05, coupled=False)]
)
def test_penalty_gradient_is_that_of_its_energy(penalty: Dirichlet | SmoothedTV) -> None:
    u = np.random.default_rng(7).random((2, 2, 4, 5))
    np.testing.assert_allclose(penalty.gradient(u), gradient_by_differences(penalty, u), atol=1e-6)


def test_dirichlet_energy_by_hand() -> None:
    u = np.array([[0.0, 1.0], [3.0, 5.0]]).reshape(1, 1, 2, 2)
    # Vertical differences 3 and 4, horizontal 1 and 2.
    np.testing.assert_allclose(Dirichlet(2.0).energy(u), [2 * (9 + 16 + 1 + 4)])


def test_explicit_step_is_equation_5() -> None:
    u, g = images(8)
    laplacian = (neumann_laplacian(8, 8) @ u.reshape(6, 64).T).T.reshape(u.shape)
    expected = u - TAU * (g - 2 * 0.4 * laplacian)
    np.testing.assert_allclose(sf.gradient_descent(Dirichlet(0.4)).step(u, g, TAU)[0], expected, atol=1e-5)


def test_any_function_serves_as_an_operator() -> None:
    u, g = images(9)

    def flip(x: Array) -> Array:
        return x[..., ::-1]

    found, _ = sf.fluid_elastic(flip).step(u, g, TAU)
    np.testing.assert_array_equal(found, (u - np.float32(TAU) * g[..., ::-1])[..., ::-1])


@pytest.mark.parametrize(
    "scheme",
    [
        sf.fluid(Sobolev(size=11)),
        sf.elastic(Gaussian(size=9)),
        sf.fluid_elastic(Sobolev(gamma=20.0), Gaussian(sigma=1.0)),
        sf.fluid(0.5 * Sobolev(size=11) + 0.5 * Gaussian(size=11)),
        sf.gradient_descent(SmoothedTV(0.1, 0.02)),
        sf.gradient_descent(Dirichlet(0.1)),
        sf.proximal_tv(0.05, Sobolev(size=11), coupled=False),
    ],
)
def test_scheme_survives_json(scheme: Scheme) -> None:
    again = Scheme.from_dict(json.loads(json.dumps(scheme.to_dict())))
    assert again == scheme
    assert repr(again) == repr(scheme)


def test_scheme_with_a_foreign_function_is_described_but_not_rebuilt() -> None:
    described = sf.fluid(np.flip).to_dict()
    assert described["K_f"] == {"function": "flip"}
    with pytest.raises(InputError, match="cannot be made from"):
        Scheme.from_dict(described)


def test_effective_weight_of_each_scheme() -> None:
    def weight(scheme: Scheme, scale: float = 1.0) -> float:
        found = scheme.effective_weight(0.5, scale)
        assert found is not None
        return found.weight

    assert weight(sf.elastic(Sobolev(gamma=0.8))) == pytest.approx(0.8)
    assert weight(sf.elastic(Sobolev(gamma=0.8)), scale=3.0) == pytest.approx(2.4)
    assert weight(sf.proximal_tv(0.1)) == pytest.approx(0.2)
    assert weight(sf.gradient_descent(Dirichlet(0.3)), scale=2.0) == pytest.approx(0.6)
    assert sf.fluid(Sobolev(gamma=0.8)).effective_weight(0.5) is None
    assert sf.elastic(Gaussian(size=11)).effective_weight(0.5) is None
    assert sf.elastic(Sobolev(gamma=0.8, order=2)).effective_weight(0.5) is None


@pytest.mark.parametrize("fluid", [None, Sobolev(gamma=(0.3, 1.1)), Sobolev(gamma=0.7)])
def test_effective_weight_with_a_strength_for_each_axis(fluid: Sobolev | None) -> None:
    """At a fixed point the data term's gradient cancels that of weight R, spelled out in `regulariser`."""
    tau, K_e = 0.5, Sobolev(gamma=(0.4, 1.8))
    scheme = sf.elastic(K_e) if fluid is None else sf.fluid_elastic(fluid, K_e)
    found = scheme.effective_weight(tau)
    assert found is not None
    names = {"y": (0,), "x": (1,), "yy": (0, 0), "xy": (0, 1), "xx": (1, 1)}
    terms = re.findall(r"([\d.]*) ?\|d_(\w+) u\|\^2", found.regulariser)
    assert len(terms) == (2 if fluid is None else 5)

    def minus_second_difference(u: Array, axis: int) -> Array:
        first = np.diff(u, axis=axis, prepend=u.take([0], axis), append=u.take([-1], axis))
        return np.asarray(-np.diff(first, axis=axis))

    u = np.random.default_rng(0).random((8, 9))
    g = np.zeros_like(u)  # the gradient of |d u|^2 is 2 d* d u
    for factor, name in terms:
        part = u
        for axis in names[name]:
            part = minus_second_difference(part, axis)
        g -= 2 * found.weight * float(factor or 1) * part
    after, _ = scheme.step(u, g, tau)
    np.testing.assert_allclose(after, u, atol=0.01)  # the factors are printed with three digits
    assert np.abs(scheme.step(u, 1.1 * g, tau)[0] - u).max() > 0.03


@pytest.mark.parametrize("wrong", ["sobolev", 3, None])
def test_operator_that_cannot_be_called_is_refused(wrong: object) -> None:
    with pytest.raises(InputError, match="K_f must be a filter"):
        sf.fluid(wrong)  # type: ignore[arg-type]


def test_total_variation_is_refused_as_a_filter_of_the_update() -> None:
    with pytest.raises(InputError, match="give it as K_e"):
        sf.fluid(TotalVariation(0.1))


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_weights_must_be_finite_and_not_negative(weight: float) -> None:
    for make in (Dirichlet, SmoothedTV, TotalVariation):
        with pytest.raises(InputError, match=r"weight is .* finite number, 0 or above"):
            make(weight)
