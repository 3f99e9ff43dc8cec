"""The parameters of a descent, each declared once.

Signature and help of `visualize` and `invert`, their options on the command line, what is checked, what the
manifest says and what a recipe holds follow from here: a new parameter is one `parameter(...)` and its use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, TypeVar, cast

from .. import checks
from ..errors import UnknownNameError
from ..named import members
from .declaring import (
    AUTO,
    GREY_LEVEL,
    MOST_STEPS,
    Command,
    Facts,
    Parameter,
    Task,
    Usual,
    declared,
    declares,
    default_of,
    parameter,
    shown,
)

if TYPE_CHECKING:
    from ..arrays import Array
    from ..devices import Device
    from ..optimizers import Optimizer
    from ..schemes import Scheme
    from ..transforms import Distribution
    from .parametrization import Parametrization
    from .plan import Octave
    from .progress import Callback

Schedule = Literal["constant", "cosine"] | Callable[[int, int], float]

RecipeName = Literal["auto", "natural", "paper"]

Normalisation = Literal["before", "after"] | None

# None where a parameter may be left open, as by a caller of `visualize`; Never where all are settled.
Open = TypeVar("Open")


def _normalisation(value: Any, name: str) -> Normalisation:
    if not (value is None or isinstance(value, str)) or value not in ("before", "after", None):
        raise UnknownNameError(f"{name} is 'before', 'after' or None, not {checks.shown(value)}.")
    return cast("Normalisation", value)


def _seconds(value: Any, name: str) -> float | None:
    return None if value is None else checks.positive(value, name)


def _patience(value: Any, name: str) -> int | None:
    return None if value is None else checks.count(value, name)


def _tau(value: Any, name: str) -> float:
    return checks.single(checks.positive(value, name), name)


def _extent(value: Any, name: str) -> float:
    return checks.single(checks.nonnegative(value, name), name)


def _part(value: Any, name: str) -> float:
    if not (checks.is_number(value) and 0 <= checks.plain(value) <= 1):
        checks.refuse(value, name, "a share, from 0 to 1")
    return float(checks.plain(value))


def _noise(value: Any, name: str) -> float:
    remedy = "It is a standard deviation in the unit of the image."
    return checks.single(checks.nonnegative(value, name, remedy=remedy), name, remedy=remedy)


@declares
class Parameters(Generic[Open]):
    """Everything that determines a descent, apart from the network and the objective.

    What is `Open` may be None, to be filled in by the recipe of the task.
    """

    scheme: Scheme | Open = parameter(
        default=None,
        doc="""Scheme, optional
        How a gradient changes the image. Unless given, fluid Sobolev demons of natural colours, with gamma =
        1000, or less where the network does not follow it (in `invert` 300), for images of 224 pixels: see
        Notes.
        """,
    )
    steps: int = parameter(
        default=160,
        doc="""int
        Number of steps, each one evaluation of value and gradient. Not used where `octaves` are `Octave`s,
        which have their own.
        """,
        check=partial(checks.count, most=MOST_STEPS),
        command=Command("number of steps", "integer"),
    )
    seconds: float | None = parameter(
        default=None,
        doc="""float, optional
        Stop when so many seconds have passed since the first step began, whatever is left of `steps`: at the
        end of a step, and at least one is taken. The images are those of a run of the same `steps` that is
        stopped there. Octaves share the time in proportion to their steps, and each has one at least.
        """,
        check=_seconds,
        command=Command("stop after so many seconds, whatever is left of the steps", "number"),
        manifest="given",
    )
    patience: int | None = parameter(
        default=None,
        doc="""int, optional
        Stop when the objective has not risen (fallen, where it is minimised) for so many steps: when no image
        of the batch has come to a better value than its best before, each as the network saw it, jittered and
        cropped. In octaves, go on to the next one. The schedule of tau stays that of `steps`. On a GPU the
        host then waits for every step, and for `seconds` as well, which it otherwise does not.
        """,
        check=_patience,
        command=Command("stop when the value has not risen, or fallen, for so many steps", "integer"),
        manifest="given",
    )
    tau: float | Open = parameter(
        default=None,
        doc="""float, optional
        Length of a step, in the unit of the image. Without normalisation it has no default.
        """,
        visualize=Usual(2 * GREY_LEVEL, 5 * GREY_LEVEL),
        invert=Usual(GREY_LEVEL, 4 * GREY_LEVEL),
        check=_tau,
        command=Command("step size in the unit of the image [0, 1], as a number or fraction", "number"),
    )
    schedule: Schedule | Literal["auto"] = parameter(
        default="auto",
        doc="""{"auto", "constant", "cosine"} or callable
        The factor on tau: 1, half a cosine from 1 down to 0, or a function of (step, steps), where step
        counts from 0 over the whole run.
        """,
        visualize=Usual("cosine", "constant"),
        invert=Usual("cosine"),
        command=Command("of tau over the steps", "text", ("constant", "cosine")),
    )
    optimizer: str | Optimizer = parameter(
        default="auto",
        doc="""{"auto", "descent", "momentum", "adam"} or Optimizer
        What becomes of the gradient before K_f. Momentum wants a tau about ten times smaller.
        """,
        visualize=Usual("momentum", "descent"),
        command=Command("what becomes of the gradient", "text", lambda: tuple(members("optimizer"))),
    )
    normalise: Normalisation | Literal["auto"] = parameter(
        default="auto",
        doc="""{"auto", "before", "after"} or None
        Divide each image's gradient by its mean absolute value, before K_f or after it. "before" leaves K_f
        its damping, "after" makes every step equally long; None takes gradients as they are.
        """,
        visualize=Usual("after", "before"),
        invert=Usual("after"),
        check=_normalisation,
        none_is_an_answer=True,
        command=Command(
            *("divide the gradient by its mean size, before or after K_f", "text"),
            ("before", "after", "none"),
        ),
    )
    canvas: Sequence[int] | None = parameter(
        default=None,
        doc="""(H, W), optional
        A canvas larger than the network's input: each step shows the network a random crop of it, filters act
        on the whole. Steps should grow with the area, since each one reaches one crop only.
        """,
        command=Command("size larger than the network's input: a random crop at each step", "size"),
    )
    batch: int | Open = parameter(
        default=None,
        doc="""int, optional
        Number of images; as many as the objective has targets unless given, that is 1 for ``sf.Class(121)``
        and 3 for ``sf.Class([1, 20, 300])``. Image i has its own random numbers, seeded with ``seed + i``,
        so that it does not depend on the others: it is the image that ``batch=1, seed=seed + i`` gives, to
        the rounding of the inference runtime.
        """,
        otherwise=1,
        check=checks.count,
        command=Command(
            *("number of images, from seeds seed, seed + 1, ...", "integer"), otherwise="one a target"
        ),
    )
    octaves: int | Sequence[float] | Sequence[Octave] | None = parameter(
        default=None,
        doc="""int, sequence of float or sequence of Octave, optional
        Sizes of the canvas relative to the network's input, from coarse to fine, with bicubic enlargement in
        between. A number n stands for the scales 1.0, 1.1, 1.2, ..., each with half the steps and half the
        tau of the one before; the scales themselves, such as [0.25, 0.5, 1.0], share the steps equally, all
        with the same tau. Below 1 the picture is made on a coarser grid, which is enlarged to what the
        network takes. What filters and noise have in pixels are pixels of the canvas, so that they reach
        further in the picture the coarser it is; jitter is in those of the network's input.
        """,
        command=Command(
            "number of scales 1.0, 1.1, ..., each with half the steps and tau of the one before; or the "
            "scales themselves, as 0.25,0.5,1, which share the steps, below 1 on coarser grids; or each with "
            "its steps and tau, as 1:100,1.5:60:1/255",
            "octaves",
        ),
    )
    jitter: int | Open = parameter(
        default=None,
        doc="""int, optional
        Each step rolls the image by up to so many pixels along both axes, and rolls the gradient back.
        Where a crop moves already, jitter does not.
        """,
        visualize=Usual(24, 2),
        invert=Usual(4, 0),
        grows=True,
        check=partial(checks.count, least=0),
        command=Command("largest shift in pixels at each step", "integer"),
    )
    crops: Distribution = parameter(
        default="uniform",
        doc="""{"uniform", "normal"}
        Where crops of a larger canvas lie: everywhere, or about the middle as in the paper's experiments.
        """,
        check=partial(checks.one_of, known=("uniform", "normal")),
        command=Command("where they lie: all over, or about the middle", "text", ("uniform", "normal")),
    )
    rotate: float | Open = parameter(
        default=None,
        doc="""float, optional
        Each step turns what the network is shown by up to so many degrees to either side.
        """,
        visualize=Usual(10.0, 0.0),
        invert=Usual(0.0),
        check=_extent,
        command=Command("largest turn at each step, in degrees", "number"),
    )
    zoom: float | Open = parameter(
        default=None,
        doc="""float, optional
        Each step enlarges or reduces what the network is shown by up to this share, 0.1 for a factor of 1.1.
        """,
        visualize=Usual(0.15, 0.0),
        invert=Usual(0.0),
        check=_extent,
        command=Command("largest change of size at each step, 0.1 for 1.1 times", "number"),
    )
    seed: int = parameter(
        default=0,
        doc="""int
        Of all random numbers.
        """,
        check=partial(checks.count, least=0, most=2**128 - 1),  # as much as NumPy's generators take in
        command=Command("of all random numbers", "integer"),
    )
    start: Literal["natural", "grey", "normal"] | Array | Open = parameter(
        default=None,
        doc="""{"natural", "grey", "normal"} or array, optional
        Grey with natural noise, which is smooth and has the colours of photographs, or with white noise: what
        K_f does not pass of it stays in the picture as grain. An array (C, H, W) or (N, C, H, W) in [0, 1] is
        taken without noise, of the size of the canvas; for a first octave below 1 one of the network's input
        is reduced. Normal noise of standard deviation 1 is for the codes of generators, and the default
        there.
        """,
        visualize=Usual("natural", "grey"),
        invert=Usual("grey"),
    )
    noise: float | Open = parameter(
        default=None,
        doc="""float, optional
        Standard deviation of the noise on grey, in the unit of the image: 8/255 unless given.
        """,
        check=_noise,
        command=Command(
            *("standard deviation around grey at the start", "number"),
            otherwise="8/255, of the codes of generators 1",
        ),
    )
    device: str | Device | Sequence[str | Device] = parameter(
        default="cpu",
        doc="""str, Device or sequence of them
        Where to compute: "cpu"; "cuda" or "cuda:1", where all arrays stay in the memory of the GPU; another
        of onnxruntime's providers, which runs the network; or a `sf.Device` with more options. Of several,
        as a list or as "cuda:0,cuda:1", each takes its share of the batch, in a process of its own.
        """,
    )
    snapshots: int | Sequence[int] = parameter(
        default=0,
        doc="""int or sequence of int
        Keep 8-bit copies: that many, evenly spaced, or after these numbers of steps (0 is the start).
        """,
        command=Command("intermediate pictures kept for the report", "integer", group="output"),
    )
    clip: bool | Open = parameter(
        default=None,
        doc="""bool, optional
        Keep the image in [0, 1]; the default for all but the codes of generators.
        """,
        otherwise=True,
        check=checks.flag,
    )
    clipped: float | Open = parameter(
        default=None,
        doc="""float, optional
        The share of an image's values that may lie beyond [0, 1] after a step, before they are clipped. An
        image with more of them is drawn towards mid-grey, by 2 %, so that highlights do not burn out. 1 lets
        any number be clipped.
        """,
        visualize=Usual(0.01, 1.0),
        invert=Usual(1.0),
        check=_part,
        command=Command(
            "share of the values that may be clipped at a step, before contrast is lowered", "number"
        ),
    )
    parametrization: Parametrization | None = parameter(
        default=None,
        doc="""Parametrization, optional
        Descend in other coordinates than pixels: `sf.Fourier` or `sf.Phase`. They have no scheme, and by
        default Adam with tau = 0.05, in the unit of the coordinates.
        """,
        command=Command(
            "descend along Fourier coefficients, or phases of fixed magnitudes (MaCo), by Adam; no scheme",
            "text",
            lambda: tuple(members("parametrization")),
        ),
        manifest="given",
    )
    mask: Array | None = parameter(
        default=None,
        doc="""(H, W) array, optional
        Where the image may change, weights in [0, 1] or booleans; elsewhere it stays the start. Of the size
        of the canvas, or of its first octave; one of the network's input is reduced to a coarser octave.
        """,
        manifest="given",
    )
    autosave: str | os.PathLike[str] | None = parameter(
        default=None,
        doc="""path, optional
        A picture to which the images so far are written every ten seconds, and where the descent fails. If
        the process is killed, or the device lost, it is what is left.
        """,
        manifest="never",
    )


@declares
class Asked(Parameters[None]):
    """What `visualize` and `invert` take beside network and objective: also how the run is watched."""

    recipe: RecipeName = parameter(
        default=AUTO,
        doc="""{"auto", "natural", "paper"}
        Where the values of parameters that are left open come from: from what makes pictures that other
        networks recognise most often, or from the paper; see Notes. Unless given, the paper's with a scheme
        and the natural one without. A parameter that is given overrides its own value alone.
        """,
        command=Command(
            *("what is left open is as measured to be recognised most often, or as in the paper", "text"),
            ("natural", "paper"),
            otherwise="paper with --scheme, natural without",
        ),
        manifest="never",
    )

    progress: bool = parameter(
        default=True,
        doc="""bool
        Show a progress bar where the standard error is a terminal.
        """,
        manifest="never",
    )
    callback: Callback | None = parameter(
        default=None,
        doc="""callable, optional
        Called after each step with a `StepInfo`; returning True ends the descent. On a GPU the host then
        waits for every step, which it otherwise does not.
        """,
        manifest="never",
    )


@declares
class AskedToInvert(Asked):
    """What `invert` takes, whose default is another here and there."""

    steps: int = default_of(Parameters, "steps", default=300)


ASKED: dict[Task, type[Asked]] = {"visualize": Asked, "invert": AskedToInvert}


@declares
class Settled(Parameters[Never]):
    """Parameters of which none is open: what was left open is what `visualize` has beside a scheme."""

    def __post_init__(self) -> None:
        known = declared(type(self))
        given = {name: getattr(self, name) for name in known}
        usual = {name: facts.otherwise for name, facts in known.items()} | beside_a_scheme("visualize")
        for name in left_open(given, known) - {"scheme"}:
            object.__setattr__(self, name, usual[name])


def parameters(task: Task) -> list[Parameter]:
    """The parameters of `visualize` or `invert`, in the order of their declaration."""
    return shown(ASKED[task], task)


def left_open(given: Mapping[str, Any], known: Mapping[str, Facts] | None = None) -> set[str]:
    """The parameters that are "auto", or None where None is no answer.

    Raw gradients, ``normalise=None``, are an answer like any other; there tau has no default.
    """
    known = declared(Parameters) if known is None else known
    open_ = {name for name, facts in known.items() if _is_open(given.get(name), facts)}
    return open_ - {"tau"} if given.get("normalise", AUTO) is None else open_


def _is_open(value: Any, facts: Facts) -> bool:
    if isinstance(value, str):
        return value == AUTO and bool(facts.usual)
    return value is None and not facts.none_is_an_answer


def alone(task: Task, size: float) -> dict[str, Any]:
    """What parameters are without a scheme, for a network that takes `size` times 224 pixels."""
    return {name: facts.alone(task, size) for name, facts in declared(Parameters).items() if facts.usual}


def beside_a_scheme(task: Task) -> dict[str, Any]:
    """What parameters are beside a scheme of the caller's: the paper's settings."""
    return {name: facts.usual[task].beside for name, facts in declared(Parameters).items() if facts.usual}
