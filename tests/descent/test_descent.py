from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

import sobolevflow as sf
from sobolevflow.arrays import Array
from sobolevflow.descent import DescentError, StepInfo
from sobolevflow.descent.descent import descend
from sobolevflow.descent.plan import Octave
from sobolevflow.descent.settings import Settings, cosine
from sobolevflow.errors import GradientError, InputError, SobolevflowError, UnknownNameError
from sobolevflow.filters import Gaussian, Sobolev
from sobolevflow.optimizers import Momentum
from sobolevflow.proximal import TotalVariation
from sobolevflow.results.result import Result
from sobolevflow.schemes import Dirichlet, Scheme, SmoothedTV
from sobolevflow.transforms.resize import Resize
from sobolevflow.transforms.warp import Warp
from tests.support.analytic import Failing, Linear, Net, Objective, Quadratic, neumann_laplacian

SHAPE = (2, 3, 12, 10)
MATCH = Objective(maximize=False)


def random_images(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def run(engine: Any, objective: Objective | None = None, **settings: Any) -> Result:
    callback: Callable[[StepInfo], bool | None] | None = settings.pop("callback", None)
    settings.setdefault("scheme", sf.gradient_descent())
    settings.setdefault("batch", engine.shape[0])
    net = Net(engine.shape[1:])
    objective = Objective() if objective is None else objective
    return descend(engine, net, objective, Settings(**settings), progress=False, callback=callback)


class Recorder:
    """An engine that remembers what it was shown."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.shape = engine, engine.shape
        self.seen: list[Array] = []

    def __call__(self, u: Array) -> tuple[Array, Array]:
        self.seen.append(u.copy())
        value, g = self.engine(u)
        return value, g


# The direction and the fixed points


def test_maximised_values_rise_and_minimised_values_fall() -> None:
    up = run(Linear(random_images() - 0.5), steps=20, jitter=0)
    down = run(Quadratic(random_images()), MATCH, steps=20, jitter=0, tau=1 / 255)
    assert (np.diff(up.history.value, axis=0) > 0).all()
    assert (np.diff(down.history.value, axis=0) < 0).all()


@pytest.mark.parametrize(("fluid", "decay"), [(False, 0.0), (True, 0.0), (False, 0.5)])
def test_fixed_point_is_the_solution_with_the_effective_weight(fluid: bool, decay: float) -> None:
    """Elastic Sobolev solves D + lambda |grad u|^2 with lambda = gamma / (2 tau), equation (8)."""
    f, weight = random_images(shape=(1, 1, 9, 8)), 0.5 + random_images(1, shape=(1, 1, 9, 8))
    gamma, tau, gamma_f = 0.9, 0.6 * (1 - decay), 0.4
    K_e = Sobolev(gamma=gamma)
    scheme = sf.fluid_elastic(Sobolev(gamma=gamma_f), K_e) if fluid else sf.elastic(K_e)
    result = run(
        Quadratic(f, weight),
        MATCH,
        scheme=scheme,
        tau=tau,
        optimizer=Momentum(decay),
        normalise=None,
        clip=False,
        jitter=0,
        steps=400,
    )
    found = result.manifest["outcome"]["effective_weight"]
    assert found["weight"] == pytest.approx(gamma / (2 * 0.6))

    laplacian = neumann_laplacian(9, 8)
    regulariser = laplacian - gamma_f * laplacian @ laplacian if fluid else laplacian
    system = sp.diags(weight.ravel()) - 2 * found["weight"] * regulariser
    expected = spsolve(system.tocsc(), (weight * f).ravel().astype(np.float64))
    np.testing.assert_allclose(result.u.ravel(), expected, atol=3e-5)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_fixed_point_under_a_penalty_has_the_effective_weight(decay: float) -> None:
    f = random_images(shape=(1, 1, 9, 8))
    result = run(
        Quadratic(f),
        MATCH,
        scheme=sf.gradient_descent(Dirichlet(0.3)),
        tau=0.2 * (1 - decay),
        optimizer=Momentum(decay),
        normalise=None,
        clip=False,
        jitter=0,
        steps=400,
    )
    found = result.manifest["outcome"]["effective_weight"]
    assert found["weight"] == pytest.approx(0.3 * (1 - decay))
    system = sp.identity(f.size) - 2 * found["weight"] * neumann_laplacian(9, 8)
    expected = spsolve(system.tocsc(), f.ravel().astype(np.float64))
    np.testing.assert_allclose(result.u.ravel(), expected, atol=3e-5)


def test_fluid_alone_only_preconditions() -> None:
    f = random_images()
    result = run(
        Quadratic(f), MATCH, scheme=sf.fluid(Sobolev(gamma=1.0)), tau=1.0, normalise=None, jitter=0, steps=250
    )
    np.testing.assert_allclose(result.u, f, atol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "regulariser"),
    [
        (sf.gradient_descent(), Dirichlet(0.0)),
        (sf.fluid(Sobolev(gamma=2.0)), Dirichlet(0.0)),
        (sf.elastic(Sobolev(gamma=0.4)), Dirichlet(0.4 / (2 * 0.2))),
        (sf.gradient_descent(Dirichlet(0.3)), Dirichlet(0.3)),
        (sf.gradient_descent(SmoothedTV(0.02, 0.05)), SmoothedTV(0.02, 0.05)),
    ],
)
def test_energy_falls_at_every_step(scheme: Scheme, regulariser: Dirichlet | SmoothedTV) -> None:
    data = Quadratic(random_images())
    energies: list[Array] = []

    def watch(info: StepInfo) -> None:
        u = info.u.astype(np.float64)
        energies.append(data(u)[0] + regulariser.energy(u))

    run(data, MATCH, scheme=scheme, tau=0.2, normalise=None, jitter=0, steps=30, clip=False, callback=watch)
    assert (np.diff(np.array(energies), axis=0) < 1e-9).all()


def test_energy_falls_under_total_variation() -> None:
    data, tau, weight = Quadratic(random_images()), 0.2, 0.02
    energies: list[float] = []
    images: list[Array] = []

    def watch(info: StepInfo) -> None:
        images.append(info.u.copy())
        down = np.diff(info.u, axis=-2, append=info.u[..., -1:, :])
        right = np.diff(info.u, axis=-1, append=info.u[..., -1:])
        tv = np.sqrt((down**2 + right**2).sum(axis=1, dtype=np.float64)).sum()
        energies.append(float(data(info.u)[0].sum() + weight / tau * tv))

    scheme = sf.proximal_tv(weight, tol=1e-5, max_iterations=5000)
    result = run(
        data, MATCH, scheme=scheme, tau=tau, normalise=None, jitter=0, steps=30, clip=False, callback=watch
    )
    assert (np.diff(energies) < 1e-4).all()
    flat = np.full(SHAPE, data.target.mean())
    assert energies[-1] < data(flat)[0].sum()  # and better than no edges at all
    assert result.history.tv_gap is not None
    assert result.history.tv_iterations is not None
    assert result.history.tv_gap.shape == result.history.tv_iterations.shape == (30,)
    assert (result.history.tv_gap <= 2e-5).all()  # tol, and what single precision rounds
    assert (result.history.tv_gap > 0).all()
    assert result.history.tv_iterations[-1] < result.history.tv_iterations[0]
    assert isinstance(scheme.K_e, TotalVariation)
    moved = images[-2] - np.float32(tau) * data(images[-2])[1]
    _, cold = scheme.K_e.solve(moved, None, channel_axis=1)
    assert result.history.tv_iterations[-1] < cold.iterations / 2  # warm starts pay


# Normalisation, optimizer, schedule


def first_step(**settings: Any) -> tuple[Array, Array]:
    direction = random_images() - 0.5
    direction[1] *= 1000
    result = run(Linear(direction), jitter=0, noise=0, steps=1, clip=False, **settings)
    return result.u - 0.5, direction


def test_normalised_before_the_filter() -> None:
    K = Sobolev(gamma=3.0)
    step, a = first_step(scheme=sf.fluid(K), tau=0.1)
    expected = 0.1 * K(a / np.abs(a).mean((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(step, expected, atol=1e-6)
    assert (np.abs(step).mean((1, 2, 3)) < 0.07).all()  # K_f keeps its damping


def test_normalised_after_the_filter() -> None:
    K = Sobolev(gamma=3.0)
    step, a = first_step(scheme=sf.fluid(K), tau=0.1, normalise="after")
    smooth = K(a)
    expected = 0.1 * smooth / np.abs(smooth).mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(step, expected, atol=1e-6)


def test_raw_gradients_are_taken_as_they_are() -> None:
    step, a = first_step(tau=0.1, normalise=None)
    np.testing.assert_allclose(step, 0.1 * a, rtol=1e-5, atol=1e-6)


def test_raw_gradients_need_a_tau() -> None:
    with pytest.raises(InputError, match="tau has no default"):
        Settings(scheme=sf.gradient_descent(), normalise=None)


def test_momentum_acts_before_the_filter_and_the_step() -> None:
    a = random_images(shape=(1, 1, 6, 6)) - 0.5
    result = run(
        Linear(a), optimizer="momentum", normalise=None, tau=1e-3, noise=0, jitter=0, steps=3, clip=False
    )
    factor = 1 + 1.9 + 2.71
    np.testing.assert_allclose(result.u - 0.5, 1e-3 * factor * a, atol=1e-7)


def test_adam_steps_have_the_length_of_tau_at_first() -> None:
    step, a = first_step(optimizer="adam", tau=0.1)
    np.testing.assert_allclose(step, 0.1 * np.sign(a), atol=1e-5)


def test_schedules_set_tau() -> None:
    engine = Linear(random_images() - 0.5)
    assert run(engine, steps=4, tau=0.1).history.tau.tolist() == [0.1] * 4
    found = run(engine, steps=4, tau=0.1, schedule="cosine").history.tau
    np.testing.assert_allclose(found, [0.05 * (1 + math.cos(math.pi * k / 4)) for k in range(4)])
    found = run(engine, steps=4, tau=0.1, schedule=lambda step, steps: (steps - step) / steps).history.tau
    np.testing.assert_allclose(found, [0.1, 0.075, 0.05, 0.025])
    assert cosine(0, 10) == 1
    assert cosine(10, 10) == pytest.approx(0)


def test_a_schedule_that_fails_is_named() -> None:
    with pytest.raises(InputError, match="schedule gave nan at step 0"):
        run(Linear(random_images()), schedule=lambda step, steps: math.nan)


# The view: jitter, canvas, octaves


def test_jitter_is_undone_in_the_gradient() -> None:
    # The gradient of a quadratic with constant target is local, so that jitter must leave no trace.
    engine = Quadratic(np.full(SHAPE, 0.25, np.float32))
    still = run(engine, MATCH, steps=10, jitter=0, normalise=None, tau=0.3)
    shaken = run(engine, MATCH, steps=10, jitter=5, normalise=None, tau=0.3)
    np.testing.assert_array_equal(still.u, shaken.u)


def test_network_sees_jittered_images() -> None:
    engine = Recorder(Linear(np.zeros(SHAPE, np.float32) + 1))
    start = random_images()
    run(engine, steps=1, jitter=4, start=start, seed=3)
    seen = engine.seen[0]
    assert not np.array_equal(seen, start)
    for i in range(2):
        shifts = [(y, x) for y in range(-4, 5) for x in range(-4, 5)]
        assert any(np.array_equal(np.roll(start[i], s, (1, 2)), seen[i]) for s in shifts)


def test_the_network_sees_turned_images_and_the_gradient_is_turned_back() -> None:
    direction, start = random_images(1), random_images()
    engine = Recorder(Linear(direction))
    result = run(
        engine,
        steps=1,
        jitter=0,
        rotate=9,
        zoom=0.2,
        start=start,
        seed=3,
        normalise=None,
        tau=0.1,
        clip=False,
    )
    rngs = [np.random.default_rng(3 + i) for i in range(2)]
    turn = Warp((12, 10), 9, 0.2).draw(rngs)
    np.testing.assert_allclose(engine.seen[0], turn.apply(start), atol=1e-6)
    np.testing.assert_allclose(result.u, start + 0.1 * turn.adjoint(direction), atol=1e-6)
    assert result.manifest["parameters"]["rotate"] == 9.0
    assert result.manifest["parameters"]["zoom"] == 0.2
    np.testing.assert_array_equal(engine.seen[-1], result.u)  # the value at the end is of the image as it is


def test_normal_crops_leave_the_rim_of_the_canvas_to_few() -> None:
    engine = Linear(np.ones(SHAPE, np.float32))
    options: dict[str, Any] = {"canvas": (36, 30), "steps": 300, "noise": 0, "tau": 1e-3, "clip": False}
    rims = {}
    for crops in ("uniform", "normal"):
        moved = run(engine, crops=crops, **options).u - 0.5
        rims[crops] = moved[..., 0, 15].mean() / moved[..., 18, 15].mean()
    assert rims["normal"] < 0.6 * rims["uniform"]


def test_canvas_larger_than_the_network_is_reached_everywhere() -> None:
    result = run(Linear(np.ones(SHAPE, np.float32)), canvas=(20, 25), steps=200, noise=0, clip=False)
    assert result.u.shape == (2, 3, 20, 25)
    assert (result.u > 0.5).all()
    # One step moves the window, and nothing else, by tau.
    one = run(Linear(np.ones(SHAPE, np.float32)), canvas=(20, 25), steps=1, noise=0, tau=0.1, clip=False)
    moved = one.u != 0.5
    assert moved.sum() == np.prod(SHAPE)
    np.testing.assert_allclose(one.u[moved], 0.6, atol=1e-6)
    np.testing.assert_allclose(one.history.mean_abs_gradient, 1.0)


def test_octaves_enlarge_the_canvas_once_each() -> None:
    plan = [Octave(1.0, 3, 0.05), Octave(1.5, 2), Octave(2.0, 1, 0.01)]
    sizes: list[tuple[int, ...]] = []

    def watch(info: StepInfo) -> None:
        sizes.append(info.u.shape[-2:])

    result = run(Linear(np.ones(SHAPE, np.float32)), octaves=plan, tau=0.02, callback=watch)
    assert sizes == [(12, 10)] * 3 + [(18, 15)] * 2 + [(24, 20)]
    assert result.history.octave.tolist() == [0, 0, 0, 1, 1, 2]
    np.testing.assert_allclose(result.history.tau, [0.05] * 3 + [0.02] * 2 + [0.01])
    assert result.manifest["parameters"]["steps"] == 6


def test_a_number_of_octaves_halves_steps_and_tau() -> None:
    result = run(Linear(np.ones(SHAPE, np.float32)), octaves=3, steps=14, tau=0.04, noise=0, clip=False)
    assert result.history.octave.tolist() == [0] * 8 + [1] * 4 + [2] * 2
    np.testing.assert_allclose(result.history.tau, [0.04] * 8 + [0.02] * 4 + [0.01] * 2)
    assert result.u.shape[-2:] == (14, 12)
    # what every window saw has taken all steps; the rest has taken those of the first octave at least
    np.testing.assert_allclose(result.u[..., 6:8, 5:7], 0.5 + 8 * 0.04 + 4 * 0.02 + 2 * 0.01, atol=1e-4)
    assert result.u.min() > 0.5 + 8 * 0.04 - 0.01


def test_scales_share_the_steps_from_a_coarse_grid_on() -> None:
    sizes: list[tuple[int, ...]] = []

    def watch(info: StepInfo) -> None:
        sizes.append(info.u.shape[-2:])

    engine = Recorder(Linear(np.ones(SHAPE, np.float32)))
    result = run(engine, octaves=[0.25, 0.5, 1, 1.5], steps=10, callback=watch, tau=0.02)
    assert sizes == [(3, 2)] * 2 + [(6, 5)] * 3 + [(12, 10)] * 3 + [(18, 15)] * 2
    assert {seen.shape for seen in engine.seen} == {SHAPE}
    np.testing.assert_allclose(result.history.tau, 0.02)
    assert result.manifest["parameters"]["octaves"] == [
        {"scale": scale, "steps": steps, "tau": None}
        for scale, steps in zip((0.25, 0.5, 1, 1.5), (2, 3, 3, 2), strict=True)
    ]


def test_on_a_coarse_grid_the_network_is_shown_an_enlarged_picture_and_its_gradient_is_carried_back() -> None:
    target, start = random_images(1), random_images(shape=(2, 3, 6, 5))
    engine = Recorder(Quadratic(target))
    options: dict[str, Any] = {"jitter": 0, "normalise": None, "tau": 0.1, "clip": False, "start": start}
    result = run(engine, MATCH, octaves=[Octave(0.5, 1)], **options)
    enlarge = Resize((6, 5), (12, 10), "linear")
    np.testing.assert_allclose(engine.seen[0], enlarge.apply(start), atol=1e-6)
    gradient = enlarge.adjoint(enlarge.apply(start) - target)
    np.testing.assert_allclose(result.u, start - 0.1 * gradient, atol=1e-5)
    np.testing.assert_allclose(engine.seen[-1], enlarge.apply(result.u), atol=1e-6)  # the value at the end


def test_a_coarse_grid_comes_to_the_best_picture_that_it_can_hold() -> None:
    target = random_images(1, (1, 1, 12, 10))
    result = run(
        Quadratic(target), MATCH, octaves=[Octave(0.5, 400)], jitter=0, normalise=None, tau=0.3, clip=False
    )
    enlarge = Resize((6, 5), (12, 10), "linear")
    matrix = enlarge.apply(np.eye(30, dtype=np.float32).reshape(30, 1, 6, 5)).reshape(30, 120).T
    expected = np.linalg.lstsq(matrix.astype(np.float64), target.ravel().astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(result.u.ravel(), expected, atol=1e-3)


def test_the_network_is_shown_nothing_beyond_the_values_of_a_coarse_grid() -> None:
    engine = Recorder(Linear(random_images() - 0.5))
    run(engine, octaves=[0.3, 0.7], steps=20, jitter=2, tau=0.3)
    assert min(seen.min() for seen in engine.seen) >= 0
    assert max(seen.max() for seen in engine.seen) <= 1 + 1e-6


def test_start_and_mask_of_the_size_of_the_network_are_reduced_to_a_coarse_grid() -> None:
    start = random_images()
    mask = np.zeros((12, 10), bool)
    mask[:6] = True
    result = run(Linear(np.ones(SHAPE, np.float32)), octaves=[Octave(0.5, 3)], start=start, mask=mask)
    reduced = Resize((12, 10), (6, 5)).apply(start).clip(0, 1)
    np.testing.assert_allclose(result.u[..., 5:, :], reduced[..., 5:, :], atol=1e-6)
    assert (result.u[..., :2, :] > reduced[..., :2, :]).mean() > 0.9
    own = run(Linear(np.ones(SHAPE, np.float32)), octaves=[Octave(0.5, 3)], start=reduced, mask=mask)
    np.testing.assert_array_equal(own.u, result.u)


@pytest.mark.parametrize("scales", [(0.5, 1.0), (0.5, 1.5, 1.0), (1.0, 0.7, 1.0)])
def test_a_mask_keeps_the_start_itself_after_coarse_grids(scales: tuple[float, ...]) -> None:
    start = random_images()
    soft = np.zeros((12, 10), np.float32)
    soft[:4], soft[4:7] = 1, 0.25
    for mask in (soft, soft > 0.5):
        octaves = [Octave(scale, 3) for scale in scales]
        result = run(Linear(np.ones(SHAPE, np.float32)), octaves=octaves, start=start, mask=mask)
        np.testing.assert_array_equal(result.u[..., mask == 0], start[..., mask == 0])
        assert (np.abs(result.u - start) <= mask + 1e-6).all()
        assert np.abs(result.u - start)[..., :4, :].mean() > 0.01


def test_jitter_on_a_coarse_grid_is_in_pixels_of_the_network() -> None:
    engine = Recorder(Linear(np.ones(SHAPE, np.float32)))
    start = random_images(shape=(2, 3, 6, 5))
    run(engine, steps=1, jitter=4, octaves=[Octave(0.5, 1)], start=start, seed=3)
    enlarged = Resize((6, 5), (12, 10), "linear").apply(start)
    for i in range(2):
        shifts = [(y, x) for y in range(-4, 5) for x in range(-4, 5)]
        rolled = (np.roll(enlarged[i], s, (1, 2)) for s in shifts)
        assert any(np.allclose(each, engine.seen[0][i], atol=1e-6) for each in rolled)


@pytest.mark.parametrize("octaves", [2, 5, 9])
def test_every_octave_has_a_step_and_their_sum_is_right(octaves: int) -> None:
    settings = Settings(scheme=sf.gradient_descent(), steps=9, octaves=octaves)
    stages = settings.stages((10, 10))
    assert len(stages) == octaves
    assert sum(stage.steps for stage in stages) == 9
    assert min(stage.steps for stage in stages) >= 1


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_states_do_not_outlive_a_change_of_size(optimizer: str) -> None:
    result = run(Linear(random_images() - 0.5), octaves=2, steps=6, optimizer=optimizer)
    history = result.history
    assert len(history) == 6
    assert history.octave.tolist() == [0, 0, 0, 0, 1, 1]
    # the first step of the second octave is as long as the very first, over a window in a larger canvas
    window, canvas = (np.prod(shape[-2:]) for shape in (SHAPE, result.u.shape))
    expected = history.rms_step[0] * history.tau[4] / history.tau[0] * np.sqrt(window / canvas)
    np.testing.assert_allclose(history.rms_step[4], expected, rtol=1e-3)


# Repeatability


def test_same_seed_same_bytes() -> None:
    def once(seed: int) -> Result:
        scheme = sf.fluid_elastic(Sobolev(size=7), Gaussian(size=7))
        return run(Quadratic(random_images()), MATCH, scheme=scheme, steps=12, octaves=2, seed=seed)

    assert once(1).u.tobytes() == once(1).u.tobytes()
    assert once(1).u.tobytes() != once(2).u.tobytes()


@pytest.mark.parametrize(
    "scheme", [sf.fluid_elastic(Sobolev(size=7)), sf.proximal_tv(0.01)], ids=["fluid-elastic", "tv"]
)
def test_image_of_a_batch_is_that_of_its_own_seed(scheme: Scheme) -> None:
    target = random_images()
    together = run(Quadratic(target), MATCH, scheme=scheme, steps=8, octaves=2, seed=5)
    for i in range(2):
        alone = run(Quadratic(target[i : i + 1]), MATCH, scheme=scheme, steps=8, octaves=2, seed=5 + i)
        np.testing.assert_allclose(together.u[i], alone.u[0], atol=2e-4)


def test_start_is_grey_with_noise_or_the_given_images() -> None:
    shape = (1, 3, 200, 100)
    engine = Linear(np.ones(shape, np.float32))
    noisy = run(engine, steps=1, tau=1e-9, noise=0.05, jitter=0).u
    assert noisy.mean() == pytest.approx(0.5, abs=1e-3)
    assert noisy.std() == pytest.approx(0.05, rel=0.02)
    one = random_images(shape=shape[1:])
    np.testing.assert_allclose(run(engine, steps=1, tau=1e-9, start=one).u[0], one, atol=1e-6)


# Interruptions and failures


def test_interruption_returns_what_was_reached() -> None:
    full = run(Quadratic(random_images()), MATCH, steps=4)
    engine = Failing(Quadratic(random_images()), call=5, error=KeyboardInterrupt())
    result = run(engine, MATCH, steps=10)
    assert result.interrupted
    assert result.stopped_by == "interrupt"
    assert "Interrupted after 4 of 10 steps" in result.notes[0]
    assert result.manifest["outcome"]["stopped_by"] == "interrupt"
    assert len(result.history) == 4
    np.testing.assert_array_equal(result.u, full.u)


def test_interruption_before_the_first_step_returns_the_start() -> None:
    start = random_images()
    result = run(Failing(Quadratic(random_images()), call=1, error=KeyboardInterrupt()), MATCH, start=start)
    assert result.interrupted
    assert result.history.value.shape == (0, 2)
    np.testing.assert_array_equal(result.u, start)


def test_callback_sees_every_step_and_may_stop() -> None:
    seen: list[int] = []

    def watch(info: StepInfo) -> bool:
        seen.append(info.step)
        with pytest.raises(ValueError, match="read-only"):
            info.u[...] = 0
        return info.step == 3

    result = run(Linear(random_images()), steps=10, callback=watch)
    assert seen == [1, 2, 3]
    assert result.stopped_by == "callback"
    assert not result.interrupted


def test_gradient_that_is_not_finite_names_step_and_layer_and_keeps_the_result() -> None:
    with pytest.raises(GradientError, match=r"Step 4: .*'relu3' is not finite") as caught:
        run(Failing(Linear(random_images()), call=4), steps=10)
    assert isinstance(caught.value, DescentError)
    assert caught.value.result is not None
    assert len(caught.value.result.history) == 3
    assert caught.value.result.value is None
    assert caught.value.result.stopped_by == "error"
    json.dumps(caught.value.result.manifest, allow_nan=False)


def test_gradient_that_is_not_finite_at_once_has_no_result() -> None:
    with pytest.raises(DescentError, match="Step 1: ") as caught:
        run(Failing(Linear(random_images()), call=1), steps=10)
    assert caught.value.result is None


class Rectified:
    """The sum of max(u - 0.5 - threshold, 0): without gradient near grey."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.shape, self.calls = threshold, SHAPE, 0

    def __call__(self, u: Array) -> tuple[Array, Array]:
        self.calls += 1
        active = u > 0.5 + self.threshold
        return np.sum((u - 0.5 - self.threshold) * active, axis=(1, 2, 3)), active.astype(np.float32)


def test_dead_gradient_is_nudged_by_stronger_noise() -> None:
    # 360 values of standard deviation 8/255 stay below 0.2 = 6.4 sigma, some of 32/255 do not.
    result = run(Rectified(0.2), steps=3, jitter=0)
    assert "started from grey with noise" in result.notes[0]
    assert result.manifest["outcome"]["notes"] == list(result.notes)
    assert (result.history.mean_abs_gradient > 0).all()


class Waking:
    """A gradient of ones that is zero for the last image at the first call."""

    shape, calls = SHAPE, 0

    def __call__(self, u: Array) -> tuple[Array, Array]:
        g = np.ones(SHAPE, np.float32)
        g[-1] = self.calls
        self.calls += 1
        return u.sum(axis=(1, 2, 3), dtype=np.float64), g


def test_nudging_one_image_leaves_the_others_alone() -> None:
    engine = Recorder(Waking())
    run(engine, steps=1, jitter=0)
    first, second = engine.seen[:2]
    np.testing.assert_array_equal(second[0], first[0])
    assert np.std(second[-1]) > 1.5 * np.std(first[-1])


def test_a_start_of_the_users_is_not_replaced_where_the_gradient_is_dead() -> None:
    start = np.full(SHAPE, 0.5, np.float32)
    engine = Recorder(Waking())
    with pytest.raises(GradientError, match=r"at the start for image 1\. .*'conv1'"):
        run(engine, steps=1, jitter=0, start=start)
    assert len(engine.seen) == 1


def test_dead_gradient_is_an_error_that_says_what_to_ask_for() -> None:
    engine = Rectified(2.0)
    with pytest.raises(GradientError, match=r"images 0, 1.*pre-activation 'conv1'"):
        run(engine, steps=3)
    assert engine.calls == 6  # the start, and five stronger ones


class Dying:
    """A gradient of ones that is zero from the n-th call on, for the chosen images."""

    def __init__(self, call: int, images: slice) -> None:
        self.call, self.images, self.shape, self.calls = call, images, SHAPE, 0

    def __call__(self, u: Array) -> tuple[Array, Array]:
        self.calls += 1
        g = np.ones(SHAPE, np.float32)
        if self.calls >= self.call:
            g[self.images] = 0
        return u.sum(axis=(1, 2, 3), dtype=np.float64), g


def test_image_whose_gradient_dies_stays_put() -> None:
    kept: dict[int, Array] = {}

    def watch(info: StepInfo) -> None:
        kept[info.step] = info.u.copy()

    scheme = sf.elastic(Sobolev(size=7))
    result = run(
        Dying(4, slice(0, 1)), steps=40, scheme=scheme, callback=watch, optimizer="momentum", tau=1e-4
    )
    np.testing.assert_array_equal(result.u[0], kept[3][0])
    assert not np.array_equal(result.u[1], kept[3][1])
    assert (result.history.rms_step[3:, 0] == 0).all()


def test_descent_gives_up_when_all_gradients_have_died() -> None:
    with pytest.raises(GradientError, match="for all images over the last 20 steps") as caught:
        run(Dying(4, slice(None)), steps=100)
    assert isinstance(caught.value, DescentError)
    assert caught.value.result is not None
    assert len(caught.value.result.history) == 3 + 19


def test_inversion_that_is_already_solved_is_no_failure() -> None:
    target = random_images()
    result = run(Quadratic(target), MATCH, start=target, steps=30, jitter=0)
    np.testing.assert_array_equal(result.u, target)
    assert result.notes == ()


# History, snapshots, manifest


def test_history_has_a_row_for_each_step() -> None:
    a = random_images() - 0.5
    result = run(Linear(a), steps=7, jitter=0, clip=False, tau=0.01)
    history = result.history
    assert len(history) == 7
    for column in (history.value, history.mean_abs_gradient, history.rms_step):
        assert column.shape == (7, 2)
    mean = np.abs(a).mean((1, 2, 3))
    np.testing.assert_allclose(history.mean_abs_gradient, np.tile(mean, (7, 1)), rtol=1e-5)
    rms = 0.01 * np.sqrt((a**2).mean((1, 2, 3))) / mean
    np.testing.assert_allclose(history.rms_step, np.tile(rms, (7, 1)), rtol=1e-3)
    assert history.tv_gap is None
    assert history.tv_iterations is None


def test_value_is_that_of_the_final_image() -> None:
    a = random_images() - 0.5
    result = run(Linear(a), steps=5, jitter=3)
    assert result.value is not None
    np.testing.assert_allclose(result.value, (a * result.u).sum((1, 2, 3)), rtol=1e-5)
    assert result.manifest["outcome"]["value"] == list(result.value)


def test_snapshots_are_taken_where_asked() -> None:
    engine = Linear(random_images() - 0.5)
    assert sorted(run(engine, steps=10, snapshots=4).snapshots) == [2, 5, 8, 10]
    result = run(engine, steps=10, snapshots=[0, 7, 10])
    assert sorted(result.snapshots) == [0, 7, 10]
    np.testing.assert_array_equal(result.snapshots[10], result.image)
    assert result.snapshots[0].dtype == np.uint8
    assert run(engine, steps=10).snapshots == {}


def test_images_stay_in_range_only_where_clipped() -> None:
    engine = Linear(random_images() - 0.5)
    clipped = run(engine, steps=20, tau=0.1).u
    assert clipped.min() == 0
    assert clipped.max() == 1
    assert run(engine, steps=20, tau=0.1, clip=False).u.max() > 1


def test_manifest_round_trips_through_json_and_rebuilds_the_scheme() -> None:
    scheme = sf.fluid_elastic(Sobolev(size=7), Gaussian(size=7))
    result = run(
        Linear(random_images() - 0.5),
        scheme=scheme,
        steps=4,
        octaves=2,
        snapshots=2,
        optimizer="momentum",
        seed=11,
    )
    manifest = json.loads(json.dumps(result.manifest, allow_nan=False))
    assert manifest == result.manifest
    parameters = manifest["parameters"]
    assert Scheme.from_dict(parameters["scheme"]) == scheme
    assert parameters["seed"] == 11
    assert parameters["optimizer"] == {"name": "momentum", "decay": 0.9}
    assert [o["scale"] for o in parameters["octaves"]] == [1.0, 1.1]
    assert manifest["model"]["sha256"] == "0" * 64
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["outcome"]["shape"] == [2, 3, 13, 11]


def test_effective_weight_of_normalised_gradients_has_their_scale() -> None:
    a = random_images() - 0.5
    result = run(Linear(a), scheme=sf.elastic(Sobolev(gamma=0.8)), tau=0.02, steps=3, jitter=0)
    found = result.manifest["outcome"]["effective_weight"]["weight"]
    assert found == pytest.approx(0.8 * np.abs(a).mean() / 0.04, rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"scheme": sf.fluid(Sobolev(gamma=0.8))},
        {"optimizer": "adam"},
        {"normalise": "after"},
        {"canvas": (20, 20)},
        {"octaves": 2},
    ],
)
def test_no_effective_weight_is_claimed_where_there_is_none(settings: dict[str, Any]) -> None:
    everything = {"scheme": sf.elastic(Sobolev(gamma=0.8)), **settings}
    result = run(Linear(random_images() - 0.5), steps=3, **everything)
    assert result.manifest["outcome"]["effective_weight"] is None


# Arguments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "sobolev"}, "scheme must be a Scheme"),
        ({"steps": 0}, "steps is 0; it must be a whole number of at least 1"),
        ({"steps": 2.5}, "steps is 2.5; it must be a whole number of at least 1"),
        ({"tau": 0.0}, "tau is 0.0; it must be a finite number above zero"),
        ({"tau": math.inf}, "tau is inf; it must be a finite number above zero"),
        ({"schedule": "cosin"}, "no schedule 'cosin'.*Did you mean 'cosine'"),
        ({"optimizer": "lbfgs"}, "no optimizer 'lbfgs'"),
        ({"normalise": "l2"}, "normalise is 'before', 'after' or None"),
        ({"batch": 0}, "batch is 0; it must be a whole number of at least 1"),
        ({"jitter": -1}, "jitter is -1; it must be a whole number of at least 0"),
        ({"crops": "gauss"}, "crops is 'gauss'; known are 'uniform', 'normal'"),
        ({"rotate": -1}, "rotate is -1; it must be a finite number, 0 or above"),
        ({"zoom": math.nan}, "zoom is nan; it must be a finite number, 0 or above"),
        ({"seed": -3}, "seed is -3; it must be a whole number of at least 0"),
        ({"noise": -0.1}, "noise is -0.1; it must be .* It is a standard deviation"),
        ({"start": "white"}, "start is 'natural', 'grey', 'normal' or an array"),
        ({"start": np.full((3, 12, 10), 200.0)}, "divide 8-bit pixels by 255"),
        ({"start": np.full((3, 12, 10), 1, np.uint8)}, "must be floating point.* not uint8"),
        ({"start": np.full((3, 12, 10), np.nan)}, "not finite"),
        ({"start": np.zeros((3, 12, 11))}, r"needs \(3, 12, 10\) or \(2, 3, 12, 10\)"),
        ({"canvas": (11, 20)}, "canvas of 11x20 pixels is smaller than the network's input of 12x10"),
        ({"canvas": (20, 9)}, "canvas of 20x9 pixels is smaller than the network's input of 12x10"),
        ({"canvas": (20,)}, "canvas is .height, width."),
        ({"canvas": 224}, "canvas is .*; it must be .height, width."),
        ({"canvas": (20, 20), "octaves": 2}, "canvas and octaves exclude each other"),
        ({"octaves": 0}, "octaves is 0; it must be a whole number of at least 1"),
        ({"octaves": 5, "steps": 3}, "5 octaves cannot share 3 steps"),
        ({"octaves": [1.0, 0.0]}, "scale is relative to the network's input and above 0, got 0.0"),
        ({"octaves": [0.5, 1.0], "steps": 1}, "2 octaves cannot share 1 steps"),
        ({"octaves": [0.5, Octave(1.0, 3)]}, "octaves is a number of them, or a sequence of scales"),
        ({"octaves": []}, "octaves is a number of them, or a sequence"),
        ({"octaves": 2.0}, "octaves is 2.0; it must be a number of them, or a sequence"),
        ({"snapshots": [500]}, "from 0 to 160, not 500"),
        ({"snapshots": -1}, "snapshots is -1; it must be a whole number of at least 0"),
        ({"snapshots": None}, "snapshots is None; it must be a number or a list"),
        ({"clip": "no"}, "clip is 'no'; it must be True or False"),
    ],
)
def test_arguments_are_checked_before_any_work(settings: dict[str, Any], message: str) -> None:
    engine = Linear(np.ones(SHAPE, np.float32))
    with pytest.raises((InputError, UnknownNameError), match=message):
        run(engine, **settings)
    assert engine.calls == 0


def test_numbers_of_numpy_are_as_good_as_those_of_python() -> None:
    one, two = np.int64(1), np.int64(2)
    settings: dict[str, Any] = {
        "steps": two,
        "seed": two,
        "jitter": one,
        "batch": two,
        "clip": np.bool_(True),
    }
    settings |= {"snapshots": np.array([0, 2]), "noise": np.float32(0.25), "tau": np.float32(0.25)}
    found = run(Linear(random_images()), **settings)
    expected = run(
        Linear(random_images()), steps=2, seed=2, jitter=1, snapshots=[0, 2], noise=0.25, tau=0.25, batch=2
    )
    assert found.u.tobytes() == expected.u.tobytes()
    assert found.manifest["parameters"] == expected.manifest["parameters"]
    octave = Octave(np.float32(1.5), two, np.float32(0.25))  # type: ignore[arg-type]
    octaves = run(Linear(random_images()), octaves=[octave]).manifest["parameters"]["octaves"]
    assert octaves == [{"scale": 1.5, "steps": 2, "tau": 0.25}]


@pytest.mark.parametrize(("scale", "steps"), [(0.0, 5), (-0.5, 5), (math.nan, 5), (1.0, 0)])
def test_octave_checks_itself(scale: float, steps: int) -> None:
    with pytest.raises(InputError, match="octave"):
        Octave(scale, steps)


def test_objective_without_a_sense_is_refused() -> None:
    with pytest.raises(InputError, match="sense is unclear"):
        run(Linear(random_images()), Objective(maximize=None))


def test_what_is_no_objective_is_refused() -> None:
    with pytest.raises(InputError, match="objective must be one such as"):
        sf.visualize(Net((3, 8, 8)), "king crab")  # type: ignore[arg-type]


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"net must be .* sf\.load, got 'model\.onnx'"):
        sf.visualize("model.onnx", sf.Class(0))  # type: ignore[arg-type]


def test_all_errors_of_a_descent_are_of_this_package() -> None:
    assert issubclass(DescentError, SobolevflowError)
