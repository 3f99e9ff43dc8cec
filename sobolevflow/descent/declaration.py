"""The parameters of a descent, each declared once.

Signature and help of `visualize` and `invert`, their options on the command line, what is checked, what the
manifest says and what a recipe holds follow from here: a new parameter is one `parameter(...)` and its use.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, TypeVar, dataclass_transform

from .. import checks
from ..errors import UnknownNameError
from ..named import members

if TYPE_CHECKING:
    from ..arrays import Array
    from ..devices import Device
    from ..optimizers import Optimizer
    from ..schemes import Scheme
    from ..transforms import Distribution
    from .parametrization import Parametrization
    from .plan import Octave
    from .progress import Callback

Task = Literal["visualize", "invert"]

Schedule = Literal["constant", "cosine"] | Callable[[int, int], float]

Normalisation = Literal["before", "after"] | None

GREY_LEVEL = 1 / 255

AUTO = "auto"

Declared = TypeVar("Declared")

# None where a parameter may be left open, as by a caller of `visualize`; Never where all are settled.
Open = TypeVar("Open")


@dataclass(frozen=True)
class Usual:
    """What a parameter that was left open becomes: in the recipe of the task, and beside a caller's scheme.

    Parameters
    ----------
    alone : object
        Without a scheme.
    beside : object, optional
        With one; the same unless given.
    """

    alone: Any
    beside: Any = ...

    def __post_init__(self) -> None:
        if self.beside is ...:
            object.__setattr__(self, "beside", self.alone)


@dataclass(frozen=True)
class Command:
    """How the command line takes a parameter.

    Parameters
    ----------
    about : str
        The help text, without the default.
    kind : {"number", "count", "natural", "integer", "size", "choice"}
        What is written: a number or fraction, a whole number from 1, from 0, or any, HxW, one of `choices`.
    choices : tuple of str, or function that returns it
        The words that it takes.
    otherwise : str, optional
        What the help text says of the default, where it is not that of the declaration.
    group : {"descent", "output"}
        Under which heading.
    """

    about: str
    kind: Literal["number", "count", "natural", "integer", "size", "choice"]
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    otherwise: str | None = None
    group: Literal["descent", "output"] = "descent"


@dataclass(frozen=True)
class Facts:
    """What is declared of a parameter beside its name, type and default; see `parameter`."""

    doc: str
    left_open: str | None
    usual: dict[Task, Usual]
    otherwise: Any
    check: Callable[[Any, str], Any] | None
    command: Command | None
    manifest: Literal["always", "given", "never"]
    grows: bool

    def is_written(self, value: Any) -> bool:
        """Whether the manifest has it."""
        return self.manifest == "always" or (self.manifest == "given" and value is not None)


def parameter(
    *,
    default: Any,
    doc: str,
    visualize: Usual | None = None,
    invert: Usual | None = None,
    otherwise: Any = None,
    check: Callable[[Any, str], Any] | None = None,
    command: Command | None = None,
    manifest: Literal["always", "given", "never"] = "always",
    grows: bool = False,
) -> Any:
    """Declare a parameter of a descent.

    Parameters
    ----------
    default : object
        In the signature; None, or "auto" where None is an answer, leaves it open.
    doc : str
        Its type and, from the second line on, its paragraph of the docstring.
    visualize, invert : Usual, optional
        What it becomes in each task where it was left open.
    otherwise : object, optional
        What it becomes where it was left open and no recipe has it.
    check : callable, optional
        One of `sobolevflow.checks`, from (value, name) to the value. What depends on other parameters is
        checked by `Settings`.
    command : Command, optional
        How the command line takes it, if it does.
    manifest : {"always", "given", "never"}
        When it is written down: "given" leaves it out where it is None.
    grows : bool
        Whether it is in pixels and grows with the network's input, from the value that is meant for 224.
    """
    usual: dict[Task, Usual] = {}
    if visualize is not None:
        usual = {"visualize": visualize, "invert": visualize if invert is None else invert}
    facts = Facts(
        doc=inspect.cleandoc(doc),
        left_open=AUTO if default == AUTO else None,
        usual=usual,
        otherwise=otherwise,
        check=check,
        command=command,
        manifest=manifest,
        grows=grows,
    )
    return field(default=default, metadata={Facts: facts})


def declared(of: type[Any] | None = None) -> dict[str, Facts]:
    """What is declared of each parameter, of `Parameters` unless another class is given, by name."""
    return {each.name: each.metadata[Facts] for each in fields(of or Parameters) if Facts in each.metadata}


def default_of(name: str, *, default: Any) -> Any:
    """A parameter with another default, for a class below `Parameters`."""
    return field(default=default, metadata={Facts: declared()[name]})


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(parameter, default_of, field)
)
def declares(cls: type[Declared]) -> type[Declared]:
    """Decorator: a frozen dataclass of keywords, whose fields are made by `parameter`."""
    return dataclass(frozen=True, kw_only=True)(cls)


def _normalisation(value: Any, name: str) -> Normalisation:
    if value not in ("before", "after", None):
        raise UnknownNameError(f"{name} is 'before', 'after' or None, not {value!r}.")
    chosen: Normalisation = value
    return chosen


def _noise(value: Any, name: str) -> float:
    return checks.nonnegative(value, name, remedy="It is a standard deviation in the unit of the image.")


@declares
class Parameters(Generic[Open]):
    """Everything that determines a descent, apart from the network and the objective.

    What is `Open` may be None, to be filled in by the recipe of the task.
    """

    scheme: Scheme | Open = parameter(
        default=None,
        doc="""Scheme, optional
        How a gradient changes the image. Unless given, fluid Sobolev demons of natural colours, with gamma =
        1000 (in `invert` 300) for images of 224 pixels: see Notes.
        """,
    )
    steps: int = parameter(
        default=160,
        doc="""int
        Number of steps, each one evaluation of value and gradient. Not used where `octaves` are `Octave`s,
        which have their own.
        """,
        check=checks.count,
        command=Command("number of steps", "integer"),
    )
    tau: float | Open = parameter(
        default=None,
        doc="""float, optional
        Length of a step, in the unit of the image. Without normalisation it has no default.
        """,
        visualize=Usual(GREY_LEVEL, 5 * GREY_LEVEL),
        invert=Usual(GREY_LEVEL, 4 * GREY_LEVEL),
        check=checks.positive,
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
        command=Command("of tau over the steps", "choice", ("constant", "cosine")),
    )
    optimizer: str | Optimizer = parameter(
        default="auto",
        doc="""{"auto", "descent", "momentum", "adam"} or Optimizer
        What becomes of the gradient before K_f. Momentum wants a tau about ten times smaller.
        """,
        visualize=Usual("momentum", "descent"),
        command=Command("what becomes of the gradient", "choice", lambda: tuple(members("optimizer"))),
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
        command=Command(
            *("divide the gradient by its mean size, before or after K_f", "choice"),
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
    octaves: int | Sequence[Octave] | None = parameter(
        default=None,
        doc="""int or sequence of Octave, optional
        Sizes of the canvas relative to the network's input, from coarse to fine, with bicubic enlargement in
        between. A number n stands for the scales 1.0, 1.1, 1.2, ..., each with half the steps and half the
        tau of the one before.
        """,
        command=Command(
            "number of scales 1.0, 1.1, ..., each with half the steps and tau of the one before", "integer"
        ),
    )
    jitter: int | Open = parameter(
        default=None,
        doc="""int, optional
        Each step rolls the image by up to so many pixels along both axes, and rolls the gradient back.
        Where a crop moves already, jitter does not.
        """,
        visualize=Usual(16, 2),
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
        command=Command("where they lie: all over, or about the middle", "choice", ("uniform", "normal")),
    )
    rotate: float | Open = parameter(
        default=None,
        doc="""float, optional
        Each step turns what the network is shown by up to so many degrees to either side.
        """,
        visualize=Usual(8.0, 0.0),
        invert=Usual(0.0),
        check=checks.nonnegative,
        command=Command("largest turn at each step, in degrees", "number"),
    )
    zoom: float | Open = parameter(
        default=None,
        doc="""float, optional
        Each step enlarges or reduces what the network is shown by up to this share, 0.1 for a factor of 1.1.
        """,
        visualize=Usual(0.1, 0.0),
        invert=Usual(0.0),
        check=checks.nonnegative,
        command=Command("largest change of size at each step, 0.1 for 1.1 times", "number"),
    )
    seed: int = parameter(
        default=0,
        doc="""int
        Of all random numbers.
        """,
        check=partial(checks.count, least=0),
        command=Command("of all random numbers", "integer"),
    )
    start: Literal["grey", "normal"] | Array | None = parameter(
        default=None,
        doc="""{"grey", "normal"} or array, optional
        Grey with noise unless an array (C, H, W) or (N, C, H, W) in [0, 1] is given, taken without noise.
        Normal noise of standard deviation 1 is for the codes of generators, and the default there.
        """,
        otherwise="grey",
    )
    noise: float = parameter(
        default=8 / 255,
        doc="""float
        Standard deviation of the noise on grey, in the unit of the image.
        """,
        check=_noise,
        command=Command("standard deviation around grey at the start", "number"),
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
    parametrization: Parametrization | None = parameter(
        default=None,
        doc="""Parametrization, optional
        Descend in other coordinates than pixels: `sf.Fourier` or `sf.Phase`. They have no scheme, and by
        default Adam with tau = 0.05, in the unit of the coordinates.
        """,
        command=Command(
            "descend along Fourier coefficients, or phases of fixed magnitudes (MaCo), by Adam; no scheme",
            "choice",
            ("fourier", "phase"),
        ),
        manifest="given",
    )
    mask: Array | None = parameter(
        default=None,
        doc="""(H, W) array, optional
        Where the image may change, weights in [0, 1] or booleans; elsewhere it stays the start. Of the size
        of the canvas, or of its first octave.
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

    steps: int = default_of("steps", default=300)


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


def left_open(given: Mapping[str, Any], known: Mapping[str, Facts] | None = None) -> set[str]:
    """The parameters that are "auto", or None where None is no answer.

    Raw gradients, ``normalise=None``, are an answer like any other; there tau has no default.
    """
    known = declared() if known is None else known
    open_ = {name for name, facts in known.items() if _is_open(given.get(name), facts)}
    return open_ - {"tau"} if given.get("normalise", AUTO) is None else open_


def _is_open(value: Any, facts: Facts) -> bool:
    return (isinstance(value, str) and value == AUTO) or (value is None and facts.left_open is None)


def alone(task: Task, size: float) -> dict[str, Any]:
    """What parameters are without a scheme, for a network that takes `size` times 224 pixels."""
    usual = {
        name: (facts.usual[task].alone, facts.grows) for name, facts in declared().items() if facts.usual
    }
    return {name: max(1, round(value * size)) if grows else value for name, (value, grows) in usual.items()}


def beside_a_scheme(task: Task) -> dict[str, Any]:
    """What parameters are beside a scheme of the caller's: the paper's settings."""
    return {name: facts.usual[task].beside for name, facts in declared().items() if facts.usual}


_METAVARS = {"number": "X", "count": "N", "natural": "N", "integer": "N", "size": "HxW"}


@dataclass(frozen=True)
class Parameter:
    """A parameter of `visualize` or `invert`, as the command line and the documentation show it.

    Parameters
    ----------
    name : str
    annotation : str
        Its type, as it is written in the signature.
    default : object
        In the signature.
    doc : str
        Its entry under Parameters of the docstring.
    about : str
        Its help text on the command line, without the default.
    otherwise : str or None
        What the help text says of the default.
    kind : {"number", "count", "natural", "integer", "size", "choice"} or None
        What is written on the command line; None where it has no such option.
    metavar : str or None
    choices : tuple of str
    group : str
        The heading under which the command line shows it.
    """

    name: str
    annotation: str
    default: Any
    doc: str
    about: str = ""
    otherwise: str | None = None
    kind: Literal["number", "count", "natural", "integer", "size", "choice"] | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    group: str = "descent"


def parameters(task: Task) -> list[Parameter]:
    """The parameters of `visualize` or `invert`, in the order of their declaration."""
    return [_shown(each, each.metadata[Facts], task) for each in fields(ASKED[task])]


def _shown(of: Field[Any], facts: Facts, task: Task) -> Parameter:
    command = facts.command
    shown = Parameter(of.name, str(of.type).replace("| Open", "| None"), of.default, facts.doc)
    if command is None:
        return shown
    return replace(
        shown,
        about=command.about,
        otherwise=command.otherwise or _otherwise(facts, task, of.default),
        kind=command.kind,
        metavar=_METAVARS.get(command.kind),
        choices=command.choices() if callable(command.choices) else command.choices,
        group=command.group,
    )


def _otherwise(facts: Facts, task: Task, default: Any) -> str | None:
    """The default in words, "16 at 224 pixels; with a scheme 2"; None where there is none to tell."""
    if task not in facts.usual:
        return None if default is None else _in_words(default)
    usual = facts.usual[task]
    alone = _in_words(usual.alone) + (" at 224 pixels" if facts.grows else "")
    return alone if usual.alone == usual.beside else f"{alone}; with a scheme {_in_words(usual.beside)}"


def _in_words(value: Any) -> str:
    """A default as it can be written on the command line; whole grey levels as fractions of 255."""
    if not isinstance(value, float):
        return str(value)
    levels = value / GREY_LEVEL
    in_levels = 0 < value < 1 and abs(levels - round(levels)) < 1e-9
    return f"{levels:.0f}/255" if in_levels else f"{value:g}"
