"""The ``sobolevflow`` command: parse, call, print.

Results go to the standard output, progress, notes and errors to the standard error. Exit code 0
is success, 1 a failure, 2 wrong usage, 130 a run ended by Ctrl-C (with what there was saved).
"""

from __future__ import annotations

import argparse
import glob
import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .._version import __version__
from ..errors import InputError, SobolevflowError, UnknownNameError

if TYPE_CHECKING:
    from ..network import LayerInfo, Network
    from ..objectives import Objective
    from ..results import Result
    from ..schemes import Scheme


OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_INTEGER = re.compile("-?[0-9]+")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (InputError, UnknownNameError) as error:
        _complain(error)
        return USAGE
    except SobolevflowError as error:
        _complain(error)
        return FAILED
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _complain(error: Exception) -> None:
    _say(f"error: {' '.join(str(error).split())}")


def _say(text: str) -> None:
    print(f"sobolevflow: {text}", file=sys.stderr)


# -- the grammar


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong usage in one line, without a page of options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}; see '{self.prog} --help'\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="sobolevflow",
        description="Show what a convolutional network has learned, from its ONNX file alone.",
        epilog="Try 'sobolevflow demo', or 'sobolevflow COMMAND --help' for an example of each command.",
    )
    parser.add_argument("--version", action="version", version=f"sobolevflow {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_inspect(commands)
    _add_visualize(commands)
    _add_invert(commands)
    _add_gradient(commands)
    _add_attribute(commands)
    _add_filter(commands)
    _add_experiment(commands)
    _add_bench(commands)
    _add_doctor(commands)
    return parser


def _command(commands: Any, name: str, run: Any, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # what is not given is left to the library's defaults
    )
    parser.set_defaults(run=run)
    return parser


def _add_demo(commands: Any) -> None:
    parser = _command(
        commands,
        "demo",
        _demo,
        "visualize a bundled network: every scheme side by side, and one inversion",
        "sobolevflow demo -o out/",
    )
    parser.add_argument(
        "-o", "--output", default="out", metavar="FOLDER", help="where to write (default: out)"
    )
    parser.add_argument("--network", metavar="NAME", help="bundled network (default: builtin:shapes-vgg)")
    parser.add_argument("--class", dest="target", metavar="NAME", help="class to visualize (default: spiral)")
    parser.add_argument("--steps", type=int, help="steps of each run")
    parser.add_argument("--seed", type=int, help="seed of all random numbers (default: 0)")
    _add_output_format(parser)


def _add_inspect(commands: Any) -> None:
    parser = _command(
        commands,
        "inspect",
        _inspect,
        "list what a model takes, its classes, and the layers to ask for",
        "sobolevflow inspect model.onnx --grep relu",
    )
    _add_model(parser)
    parser.add_argument("--grep", metavar="TEXT", help="only layers whose name or operator contains this")
    parser.add_argument("--json", action="store_true", default=False, help="print JSON instead of a table")


def _add_visualize(commands: Any) -> None:
    parser = _command(
        commands,
        "visualize",
        _visualize,
        "descend to an image that a class, channel, neuron or layer likes",
        'sobolevflow visualize model.onnx --class "king crab" --labels classes.txt '
        "--preprocess torch -o crab.png",
    )
    _add_model(parser)
    parser.add_argument(
        "--generator",
        metavar="FILE",
        help="ONNX file of a generator (tanh) in front: descend along its code, and show what it draws",
    )
    _add_objective(parser).add_argument(
        "--caricature",
        nargs=2,
        metavar=("LAYER", "PHOTO"),
        help="exaggerate what a layer sees in a photograph",
    )
    _add_scheme(parser, DEFAULT_SCHEME.format(gamma=1000)).add_argument(
        "--natural-colour", action="store_true", help="K_f gives updates the covariance of natural colours"
    )
    _add_descent(parser, VISUALIZE_DEFAULTS)
    _add_result(parser)


def _add_invert(commands: Any) -> None:
    parser = _command(
        commands,
        "invert",
        _invert,
        "descend to an image whose features in a layer are those of a photograph",
        "sobolevflow invert model.onnx photo.jpg --layer LAYER --preprocess torch -o inverse.png",
    )
    _add_model(parser)
    parser.add_argument("photo", nargs="+", help="image files; several are inverted together")
    parser.add_argument("--layer", required=True, help="layer whose features to reproduce (see inspect)")
    _add_exponent(parser)
    _add_scheme(parser, DEFAULT_SCHEME.format(gamma=300))
    _add_descent(parser, INVERT_DEFAULTS)
    _add_result(parser)


def _add_gradient(commands: Any) -> None:
    parser = _command(
        commands,
        "gradient",
        _gradient,
        "write the gradient of an objective as a plain ONNX model",
        "sobolevflow gradient model.onnx --class 3 --preprocess torch -o grad.onnx",
    )
    _add_model(parser)
    group = _add_objective(parser)
    group.add_argument(
        "--inversion",
        nargs=2,
        action="append",
        metavar=("LAYER", "PHOTO"),
        help="distance of a layer's features to those of a photograph; repeat for a batch",
    )
    _add_exponent(parser)
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", required=True, metavar="FILE", help="ONNX file to write")
    group.add_argument("--batch", type=int, metavar="N", help="number of images (default: one a target)")
    group.add_argument(
        "--activation",
        action="append",
        metavar="LAYER",
        help="layer to give out beside value and gradient; may be repeated",
    )
    group.add_argument(
        "--no-defaults",
        dest="defaults",
        action="store_false",
        help="let class, unit or target be inputs that must be fed, as onnxruntime for JavaScript wants them",
    )
    group.add_argument("--quiet", action="store_true", default=False, help="no notes")
    group.add_argument(
        "--json", action="store_true", default=False, help="print the inputs and outputs as JSON"
    )


# Which option belongs to which methods of `attribute`.
_ATTRIBUTION_OPTIONS = {
    "samples": ("smooth-grad",),
    "noise": ("smooth-grad",),
    "seed": ("smooth-grad",),
    "steps": ("integrated-gradients",),
    "baseline": ("integrated-gradients",),
    "gamma": ("sobolev-saliency", "smooth-grad"),
    "layer": ("grad-cam",),
}

_ATTRIBUTION_GAMMA = 20.0  # the strength of the fluid filter that `invert` has by default


def _add_attribute(commands: Any) -> None:
    parser = _command(
        commands,
        "attribute",
        _attribute,
        "draw which pixels of a photograph a class score comes from",
        "sobolevflow attribute model.onnx photo.jpg --method grad-cam --preprocess torch -o map.png",
    )
    _add_model(parser)
    parser.add_argument("photo", nargs="+", help="image files; several are drawn side by side")
    parser.add_argument(
        "--method",
        required=True,
        choices=("saliency", "sobolev-saliency", "smooth-grad", "integrated-gradients", "grad-cam"),
    )
    group = parser.add_argument_group("of what (default: the network's own top-1 of each photograph)")
    group = group.add_mutually_exclusive_group()
    group.add_argument(
        "--class", dest="target", action="append", metavar="NAME|INDEX", help="class; repeat: one a photo"
    )
    group.add_argument(
        "--channel", action="append", type=_unit(1, 1), metavar="LAYER:C", help="mean of one channel"
    )
    group.add_argument(
        "--neuron", action="append", type=_unit(1, 3), metavar="LAYER:C[:Y:X]", help="one unit"
    )
    group = parser.add_argument_group("how")
    group.add_argument("--layer", help="grad-cam: layer to look at (default: the last feature map)")
    group.add_argument(
        "--gamma",
        type=float,
        metavar="X",
        help="sobolev-saliency, smooth-grad: strength of the filter in pixels squared "
        f"(default: {_ATTRIBUTION_GAMMA:g} for sobolev-saliency, no filter for smooth-grad)",
    )
    group.add_argument("--samples", type=int, metavar="N", help="smooth-grad: noisy copies (default: 25)")
    group.add_argument(
        "--noise",
        type=_number,
        metavar="X",
        help="smooth-grad: standard deviation, relative to the range of the image (default: 0.15)",
    )
    group.add_argument("--seed", type=int, help="smooth-grad: of the noise (default: 0)")
    group.add_argument("--steps", type=int, metavar="N", help="integrated-gradients: gradients (default: 50)")
    group.add_argument(
        "--baseline",
        type=_number,
        metavar="X",
        help="integrated-gradients: grey level in [0, 1] to compare with (default: 0)",
    )
    _add_device(group)
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", required=True, metavar="FILE", help="picture of the map to write")
    group.add_argument("--overlay", action="store_true", default=False, help="draw the map on the photograph")
    group.add_argument("--npy", metavar="FILE", help="also write the map itself, (N, H, W) float32")
    _add_output_format(group)


# Which option belongs to which filters.
_FILTER_OPTIONS = {
    "size": ("sobolev", "gaussian", "bilateral"),
    "gamma": ("sobolev", "sobolev-product"),
    "sigma": ("gaussian", "bilateral"),
    "order": ("sobolev", "sobolev-product"),
    "boundary": ("sobolev", "gaussian", "sobolev-product"),
    "method": ("sobolev", "gaussian"),
    "weight": ("tv", "tgv"),
    "variation": ("tv",),
    "huber": ("tv",),
    "ratio": ("tgv",),
    "tol": ("tv", "tgv"),
    "sigma_range": ("bilateral",),
    "kappa": ("perona-malik",),
    "time": ("perona-malik",),
    "conduction": ("perona-malik",),
}

_STRENGTHS = {
    "sobolev": "gamma",
    "sobolev-product": "gamma",
    "gaussian": "sigma",
    "tv": "weight",
    "tgv": "weight",
    "bilateral": "sigma",
    "perona-malik": "kappa",
}

_NONLINEAR = ("tv", "tgv", "bilateral", "perona-malik")

_TV_WEIGHT = 0.1


def _add_filter(commands: Any) -> None:
    parser = _command(
        commands,
        "filter",
        _filter_pictures,
        "smooth pictures: Sobolev, Gaussian, total (generalised) variation, bilateral, Perona-Malik",
        "sobolevflow filter photo.jpg --filter sobolev --gamma 4 -o out.png",
    )
    parser.add_argument("photo", nargs="+", help="image files")
    parser.add_argument(
        "--filter", choices=tuple(_STRENGTHS), default="sobolev", help="which filter (default: sobolev)"
    )
    group = parser.add_argument_group("how (default: size 11, strength by the support rule)")
    group.add_argument(
        "--size", type=int, metavar="N", help="window of N x N pixels, odd (default: no window)"
    )
    group.add_argument(
        "--gamma",
        type=_strength,
        metavar="X[,X]",
        help="sobolev: strength in pixels squared; two: down, across",
    )
    group.add_argument(
        "--sigma",
        type=_strength,
        metavar="X[,X]",
        help="gaussian: standard deviation in pixels; two: down, across. bilateral: one (default: 1.5)",
    )
    group.add_argument("--order", type=_number, metavar="X", help="sobolev: of the operator (default: 1)")
    group.add_argument("--boundary", choices=("reflect", "periodic", "zero"), help="(default: reflect)")
    group.add_argument("--method", choices=("auto", "fir", "dense", "exact"), help="(default: auto)")
    group.add_argument(
        "--weight", type=_number, metavar="X", help=f"tv, tgv: of the variation (default: {_TV_WEIGHT})"
    )
    group.add_argument(
        "--variation", choices=("isotropic", "anisotropic"), help="tv: which norm (default: isotropic)"
    )
    group.add_argument(
        "--huber", type=_number, metavar="X", help="tv: slopes below it cost their square (default: 0)"
    )
    group.add_argument(
        "--ratio", type=_number, metavar="X", help="tgv: cost of bends, in pixels (default: 2)"
    )
    group.add_argument(
        "--tol", type=_number, metavar="X", help="tv, tgv: relative duality gap (default: 0.001)"
    )
    group.add_argument(
        "--sigma-range", type=_number, metavar="X", help="bilateral: of values in [0, 1] (default: 0.1)"
    )
    group.add_argument(
        "--kappa", type=_number, metavar="X", help="perona-malik: larger steps are edges (default: 0.05)"
    )
    group.add_argument(
        "--time", type=_number, metavar="X", help="perona-malik: in pixels squared (default: 2)"
    )
    group.add_argument(
        "--conduction", choices=("exponential", "rational"), help="perona-malik: (default: exponential)"
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", metavar="FILE|FOLDER", help="picture to write; a folder for several photos"
    )
    group.add_argument("--npy", metavar="FILE|FOLDER", help="also write (C, H, W) float32, not clipped")
    group.add_argument(
        "--plan",
        action="store_true",
        default=False,
        help="print how each photo is filtered; -o may be absent",
    )
    group.add_argument("--json", action="store_true", default=False, help="print the outcome as JSON")


# Which of the experiment's options each of them has, beside those that all have.
_EXPERIMENTS = {
    "figure1": ("target", "recipe"),
    "figure2": ("target", "recipe"),
    "figure4": ("layers", "photos", "count", "recipe"),
    "table1": ("layers", "photos", "count", "tune"),
    "matched": ("target",),
    "sweep": ("layers", "photos", "count"),
}


def _add_experiment(commands: Any) -> None:
    parser = _command(
        commands,
        "experiment",
        _experiment,
        "repeat the paper's figures and table, and what lies beyond, on your networks",
        "sobolevflow experiment table1 squeezenet.onnx mobilenet.onnx --preprocess torch tf \\\n"
        "      --labels classes.txt --layers fire6,fire7 block5,block8 --photos photos/ -o out/table1",
    )
    parser.description += (  # type: ignore[operator]
        " What was computed before is found again in the output folder: stop an experiment and go on as you "
        "like."
    )
    parser.add_argument(
        "name",
        nargs="?",
        choices=_EXPERIMENTS,
        default=None,
        help="figure1: schemes x filters; figure2: schemes x networks, with octaves and without; figure4: "
        "inversions, layers x schemes x photos; table1: reconstructions judged by another network; matched: "
        "Gaussian against Sobolev at equal strength; sweep: gamma x tau",
    )
    parser.add_argument(
        "models", nargs="*", default=[], metavar="MODEL", help="ONNX files; each is judged by the others"
    )
    parser.add_argument(
        "--list", action="store_true", default=False, help="list the recipes with the paper's settings"
    )
    networks = parser.add_argument_group("networks (one value for all, or one for each)")
    networks.add_argument("--preprocess", nargs="+", metavar="NAME|FILE", help="as for visualize")
    networks.add_argument("--labels", nargs="+", metavar="FILE", help="class names, one a line")
    networks.add_argument(
        "--layers",
        nargs="+",
        metavar="L1,L2",
        help="layers to invert, with commas between; or the paper's names",
    )
    subject = parser.add_argument_group("subject")
    subject.add_argument(
        "--class", dest="target", action="append", metavar="NAME|INDEX", help="class; repeat for several"
    )
    subject.add_argument(
        "--photos", metavar="FOLDER", help="photographs; a leading number in a name is its class"
    )
    subject.add_argument("--count", type=_positive, metavar="N", help="photographs to report on")
    subject.add_argument(
        "--tune",
        type=_natural,
        metavar="N",
        help="table1: other photographs to tune each method on (default: 16)",
    )
    run = parser.add_argument_group("descent")
    run.add_argument("--recipe", metavar="NAME", help="settings of the paper, by the name that --list gives")
    run.add_argument("--steps", type=_positive, help="instead of the recipe's")
    run.add_argument("--batch", type=_positive, metavar="N", help="images at once (default: 8)")
    run.add_argument("--seed", type=int, help="seed of all random numbers (default: 0)")
    run.add_argument("--device", help="cpu or cuda (default: cpu)")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="where to write, and to go on from")
    _add_output_format(parser)


def _add_bench(commands: Any) -> None:
    parser = _command(
        commands,
        "bench",
        _bench,
        "measure how fast filters, total variation or gradients are on this machine",
        "sobolevflow bench filters --shape 8x3x224x224",
    )
    parser.add_argument("what", choices=("filters", "tv", "gradient"))
    parser.add_argument(
        "--shape",
        action="append",
        type=_array_shape,
        metavar="NxCxHxW",
        help="filters, tv: of the images; repeat for several",
    )
    parser.add_argument(
        "--full", action="store_true", default=False, help="filters: 8192 x 8192 too, which takes 4 GB"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), help="filters, tv (default: float32)")
    parser.add_argument("--model", help="gradient: ONNX file (default: builtin:shapes-vgg)")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="timed calls of each (default: 15)")
    parser.add_argument("--threads", type=_positive, metavar="N", help="threads (default: all cores)")
    parser.add_argument("--json", action="store_true", default=False, help="print JSON instead of a table")


def _add_doctor(commands: Any) -> None:
    parser = _command(
        commands,
        "doctor",
        _doctor,
        "check that a device can be used: driver, libraries, wheels, and a gradient computed on it",
        "sobolevflow doctor --device cuda",
    )
    parser.add_argument(
        "--device", metavar="NAME", default="cuda", help="what is to be used (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", default=False, help="print the findings as JSON")


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    parser.add_argument("model", help="ONNX file, or builtin:shapes-vgg, builtin:shapes-dense")
    group.add_argument(
        "--preprocess",
        metavar="NAME|FILE",
        help="torch, caffe, tf, none, or a JSON file with scale, mean, std, order, layout",
    )
    group.add_argument("--labels", metavar="FILE", help="class names, one a line")
    group.add_argument("--background", type=int, choices=(0, 1), help="1: output 0 is a background class")
    group.add_argument(
        "--input-shape", type=_shape, metavar="[Cx]HxW", help="for models that leave their size open"
    )
    group.add_argument(
        "--threads", type=_positive, metavar="N", help="threads of onnxruntime (default: all cores)"
    )


def _add_exponent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--p", type=int, choices=(1, 2), help="exponent of the norm in an inversion, eq. (3) (default: 2)"
    )


def _add_objective(parser: argparse.ArgumentParser) -> Any:
    group = parser.add_argument_group("objective (one of)").add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--class", dest="target", action="append", metavar="NAME|INDEX", help="class; repeat for a batch"
    )
    group.add_argument(
        "--channel",
        action="append",
        type=_unit(1, 1),
        metavar="LAYER:C",
        help="mean of one channel; repeat for a batch",
    )
    group.add_argument(
        "--neuron",
        action="append",
        type=_unit(1, 3),
        metavar="LAYER:C[:Y:X]",
        help="one unit, by default the central one; repeat for a batch",
    )
    group.add_argument(
        "--layer",
        dest="objective_layer",
        action="append",
        metavar="LAYER",
        help="energy of a whole layer (DeepDream)",
    )
    group.add_argument(
        "--direction",
        nargs=2,
        action="append",
        metavar=("LAYER", "FILE"),
        help="inner product of a layer with the vector in a .npy file (one for each image with --batch)",
    )
    return group


DEFAULT_SCHEME = "fluid, Sobolev of gamma {gamma} at 224 pixels, natural colours"


def _add_scheme(parser: argparse.ArgumentParser, default: str) -> Any:
    """Add the options, and return their group."""
    group = parser.add_argument_group(
        f"scheme, u <- K_e * (u - tau * (K_f * grad D(u))) (default: {default})"
    )
    group.add_argument(
        "--scheme", choices=("fluid", "elastic", "fluid-elastic", "tv", "none"), help="which of K_f, K_e"
    )
    group.add_argument(
        "--filter",
        choices=("sobolev", "gaussian", "multiscale", "bilateral"),
        help="family of K_f and K_e; multiscale: K_f alone, --scheme fluid; bilateral: K_e alone, elastic",
    )
    group.add_argument(
        "--size", type=int, metavar="N", help="side of the filter in pixels; sets gamma or sigma"
    )
    group.add_argument(
        "--gamma", type=float, metavar="X", help="of the Sobolev filter, in pixels squared; solved exactly"
    )
    group.add_argument(
        "--sigma", type=float, metavar="X", help="of the Gaussian or bilateral filter, in pixels"
    )
    group.add_argument(
        "--sigma-range", type=float, metavar="X", help="of the bilateral filter, of values in [0, 1]"
    )
    group.add_argument("--levels", type=int, metavar="N", help="of the multiscale normalisation (default: 4)")
    group.add_argument(
        "--tv-weight",
        type=float,
        metavar="X",
        help="of one proximal TV step, in the unit of the image (default: 0.01); implies --scheme tv",
    )
    return group


# What the help texts say; the library's own defaults apply, and a test holds the two together.
OTHERWISE = "; with a scheme "

VISUALIZE_DEFAULTS = {
    "steps": "160",
    "tau": f"1/255{OTHERWISE}5/255",
    "schedule": f"cosine{OTHERWISE}constant",
    "optimizer": f"momentum{OTHERWISE}descent",
    "normalise": f"after{OTHERWISE}before",
    "jitter": f"16 at 224 pixels{OTHERWISE}2",
    "rotate": f"8{OTHERWISE}0",
    "zoom": f"0.1{OTHERWISE}0",
}

INVERT_DEFAULTS = {
    "steps": "300",
    "tau": f"1/255{OTHERWISE}4/255",
    "schedule": "cosine",
    "optimizer": f"momentum{OTHERWISE}descent",
    "normalise": "after",
    "jitter": f"4 at 224 pixels{OTHERWISE}0",
    "rotate": "0",
    "zoom": "0",
}


def _add_descent(parser: argparse.ArgumentParser, defaults: dict[str, str]) -> None:
    group = parser.add_argument_group("descent")

    def add(name: str, what: str, default: str | None = None, **how: Any) -> None:
        default = default or defaults.get(name)
        group.add_argument(f"--{name}", help=f"{what} (default: {default})" if default else what, **how)

    add("steps", "number of steps", type=int, metavar="N")
    add(
        "tau", "step size in the unit of the image [0, 1], as a number or fraction", type=_number, metavar="X"
    )
    add("schedule", "of tau over the steps", choices=("constant", "cosine"))
    add("optimizer", "what becomes of the gradient", choices=("descent", "momentum", "adam"))
    normalisations = ("before", "after", "none")
    add("normalise", "divide the gradient by its mean size, before or after K_f", choices=normalisations)
    add("jitter", "largest shift in pixels at each step", type=int, metavar="N")
    add(
        "canvas",
        "size larger than the network's input: a random crop at each step",
        type=_size,
        metavar="HxW",
    )
    add("crops", "where they lie: all over, or about the middle", "uniform", choices=("uniform", "normal"))
    add("rotate", "largest turn at each step, in degrees", type=_number, metavar="X")
    add("zoom", "largest change of size at each step, 0.1 for 1.1 times", type=_number, metavar="X")
    add(
        "parametrization",
        "descend along Fourier coefficients, or phases of fixed magnitudes (MaCo), by Adam; no scheme",
        choices=("fourier", "phase"),
    )
    add(
        "octaves",
        "number of scales 1.0, 1.1, ..., each with half the steps and tau of the one before",
        type=int,
        metavar="N",
    )
    add("noise", "standard deviation around grey at the start", "8/255", type=_number, metavar="X")
    add("seed", "of all random numbers", "0", type=int, metavar="N")
    add("batch", "number of images, from seeds seed, seed + 1, ...", "one a target", type=int, metavar="N")
    _add_device(group)


def _add_device(group: Any) -> None:
    group.add_argument(
        "--device",
        metavar="NAME",
        help="where to compute: cpu, cuda, cuda:1, or another of onnxruntime's providers, such as coreml; "
        "several, cuda:0,cuda:1, share the batch; 'sobolevflow doctor' checks one (default: cpu)",
    )
    group.add_argument(
        "--precision",
        choices=("float32", "float16"),
        help="of the network; the image and all filters stay float32 (default: float32)",
    )
    group.add_argument(
        "--tf32", action="store_true", help="on CUDA: let convolutions round to 10 bits, which is faster"
    )


def _add_result(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="picture to write (.png, .jpg, ...)"
    )
    group.add_argument("--report", metavar="FILE", help="also write a self-contained HTML page")
    group.add_argument(
        "--snapshots", type=int, metavar="N", help="intermediate pictures kept for the report (default: 0)"
    )
    _add_output_format(group)


def _add_output_format(parser: Any) -> None:
    parser.add_argument("--quiet", action="store_true", default=False, help="no progress bar and no notes")
    parser.add_argument("--json", action="store_true", default=False, help="print the outcome as JSON")


def _number(text: str) -> float:
    """A number or a fraction such as 5/255."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or a fraction such as 5/255") from None


def _strength(text: str) -> float | tuple[float, ...]:
    """A number, or two with a comma between them."""
    numbers = tuple(_number(part) for part in text.split(","))
    if len(numbers) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor two (down,across), such as 4,1")
    return numbers[0] if len(numbers) == 1 else numbers


def _array_shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch("[1-9][0-9]*(x[1-9][0-9]*)+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 8x3x224x224")
    return tuple(map(int, text.split("x")))


def _positive(text: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def _natural(text: str) -> int:
    return 0 if re.fullmatch("0+", text) else _positive(text)


def _size(text: str) -> tuple[int, ...]:
    if not re.fullmatch("0*[1-9][0-9]*x0*[1-9][0-9]*", text, re.ASCII | re.IGNORECASE):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 224x224 (height x width)")
    return tuple(map(int, text.lower().split("x")))


def _shape(text: str) -> tuple[int, ...]:
    """HxW, or CxHxW for models that leave their channels open too."""
    channels, _, rest = text.lower().partition("x")
    if "x" in rest and _INTEGER.fullmatch(channels):
        return _positive(channels), *_size(rest)
    return _size(text)


def _unit(least: int, most: int) -> Any:
    """A parser of LAYER:NUMBER[:NUMBER...]; layer names may hold colons themselves."""

    def parse(text: str) -> tuple[str, tuple[int, ...]]:
        parts = text.split(":")
        numbers: list[int] = []
        while len(parts) > 1 and len(numbers) < most and re.fullmatch("[0-9]+", parts[-1]):
            numbers.insert(0, int(parts.pop()))
        if len(numbers) not in (least, most) or not parts[0]:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form LAYER:C" + "[:Y:X]" * (most > 1))
        return ":".join(parts), tuple(numbers)

    return parse


# -- the commands


def _demo(options: argparse.Namespace) -> int:
    from ..experiments.demo import run_demo

    given = _given(options, "network", "steps", "seed", class_name="target")
    found = run_demo(options.output, progress=not options.quiet, **given)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"wrote {found['sheet']}")
    return OK


def _inspect(options: argparse.Namespace) -> int:
    net = _load(options)
    wanted = getattr(options, "grep", "").casefold()
    layers = [info for info in net.layers if wanted in info.name.casefold() or wanted in info.op.casefold()]
    if options.json:
        print(json.dumps({**net.to_dict(), "layers": [_layer_dict(info) for info in layers]}, indent=1))
    else:
        _print_network(net, layers)
    return OK


def _visualize(options: argparse.Namespace) -> int:
    from ..descent import visualize

    _check_outputs(options)
    net = _composed(options) if hasattr(options, "generator") else _load(options)
    objective = (
        _caricature(net, *options.caricature) if hasattr(options, "caricature") else _objective(options)
    )
    _note(net, options)
    result = _descend(visualize, net, objective, options, "fluid-elastic")
    return _finish(net, result, options, _indices(net, objective))


def _invert(options: argparse.Namespace) -> int:
    from ..descent import invert

    _check_outputs(options)
    net = _load(options)
    objective = _inversion(net, options.layer, options.photo, options)
    _note(net, options)
    return _finish(net, _descend(invert, net, objective, options, "fluid"), options)


def _gradient(options: argparse.Namespace) -> int:
    from ..gradient import gradient_model, signature
    from ..objectives import natural_batch
    from ..onnxgrad import size_of

    net = _load(options)
    if hasattr(options, "inversion"):
        layers, photos = zip(*options.inversion, strict=True)
        if len(set(layers)) > 1:
            raise InputError("--inversion can be repeated for one layer only")
        objective: Objective = _inversion(net, layers[0], photos, options)
    else:
        objective = _objective(options)
    batch = getattr(options, "batch", natural_batch(objective))
    activations = list(dict.fromkeys(getattr(options, "activation", [])))
    given = _given(options, "defaults", path="output")
    model = gradient_model(net, objective, batch=batch, activations=activations, **given)
    _note(net, options)
    facts = {
        "model": options.output,
        "gradient_of": f"{objective} of {net.name}",
        "nodes": len(model.graph.node),
        "bytes": sum(map(size_of, model.graph.initializer)),
        **signature(model, activations),
    }
    if options.json:
        print(json.dumps(facts))
    else:
        _print_signature(facts)
    return OK


def _attribute(options: argparse.Namespace) -> int:
    from .. import attribution
    from ..objectives import Class
    from ..pictures import check_writable, tiled, write_array, write_image

    _check_outputs(options)
    if hasattr(options, "npy"):
        check_writable(options.npy, endings=(".npy",))
    for name, methods in _ATTRIBUTION_OPTIONS.items():
        if hasattr(options, name) and options.method not in methods:
            raise InputError(f"--{name} belongs to --method {' or '.join(methods)}, not to {options.method}")
    net = _load(options)
    photos = _photos(net, options.photo, "sf.attribution")
    asked = any(hasattr(options, name) for name in ("target", "channel", "neuron"))
    objective = _objective(options) if asked else Class(_top_classes(net, photos))
    _note(net, options)
    maps = _attributed(net, objective, photos, options)
    pictures = attribution.heatmap(maps, photos if options.overlay else None)
    path = write_image(options.output, pictures[0] if len(pictures) == 1 else tiled(list(pictures)))
    array = write_array(options.npy, maps) if hasattr(options, "npy") else None
    indices = _indices(net, objective)
    names = None if indices is None else [net.class_name(k) for k in indices]
    if options.json:
        files = {"picture": str(path), "array": array and str(array)}
        outcome = {"method": options.method, "objective": objective.to_dict(), "classes": names}
        print(json.dumps({**files, **outcome, "own_top1": not asked}))
    else:
        what = str(objective) if names is None else "; ".join(name.split(",")[0] for name in names)
        print(f"wrote {path}: {options.method} of {what}" + ("" if asked else " (the network's own top-1)"))
        if array is not None:
            print(f"wrote {array}")
    if not options.quiet:
        for photo, each in zip(options.photo, maps, strict=True):
            if not each.any():
                _say(f"note: the map of {photo} is zero everywhere")
    return OK


def _filter_pictures(options: argparse.Namespace) -> int:
    from ..maps import to_dict
    from ..pictures import read_planes
    from . import picture_filter

    operator = _operator(options)
    if not (hasattr(options, "output") or options.plan):
        raise InputError("the following argument is missing: -o FILE (only --plan does without)")
    if hasattr(options, "npy") and not hasattr(options, "output"):
        raise InputError("--npy needs -o FILE as well")
    plans = [str(operator.plan(read_planes(p)[0].shape)) for p in options.photo] if options.plan else []
    done = []
    if hasattr(options, "output"):
        for job in picture_filter.jobs(options.photo, options.output, getattr(options, "npy", None)):
            done.append(picture_filter.filter_picture(job, operator))
    if options.json:
        described = to_dict(operator)
        print(json.dumps({"operator": described, "plans": plans, "written": done}))
        return OK
    for photo, plan in zip(options.photo, plans, strict=False):
        print(f"{photo}: {plan}")
    for facts in done:
        print(f"wrote {facts['picture']}" + _how_solved(facts))
        if facts["array"] is not None:
            print(f"wrote {facts['array']}")
    return OK


def _how_solved(facts: dict[str, Any]) -> str:
    """The iterations of an iterative operator, and whether they were enough; nothing for others."""
    if "iterations" not in facts:
        return ""
    enough = "" if facts["converged"] else ", not converged: raise --tol or lower --weight"
    return f" ({facts['iterations']} iterations{enough})"


def _operator(options: argparse.Namespace) -> Any:
    """The filter, or other map of an image, that `sobolevflow filter` was asked for."""
    from .. import filters
    from ..maps import Bilateral, PeronaMalik
    from ..proximal import GeneralisedVariation, TotalVariation

    family = options.filter
    for name, families in _FILTER_OPTIONS.items():
        if hasattr(options, name) and family not in families:
            flag = name.replace("_", "-")
            own = f"; {family} has --{_STRENGTHS[family]}" if name in _STRENGTHS.values() else ""
            raise InputError(f"--{flag} belongs to --filter {' or '.join(families)}, not to {family}{own}")
    if options.plan and family in _NONLINEAR:
        raise InputError(f"--plan is for linear filters; --filter {family} is none")
    given = _given(options, *_FILTER_OPTIONS)
    if family == "tv":
        return TotalVariation(**{"weight": _TV_WEIGHT, "max_iterations": 5000, **given})
    if family == "tgv":
        return GeneralisedVariation(**{"weight": _TV_WEIGHT, "max_iterations": 10_000, **given})
    if family == "bilateral":
        return Bilateral(**given)
    if family == "perona-malik":
        return PeronaMalik(**given)
    if family == "sobolev-product":
        if "gamma" not in given:
            raise InputError("--filter sobolev-product has no default strength; give --gamma")
        order = given.get("order", 1)
        return filters.SobolevProduct(**{**given, "order": int(order) if order == int(order) else order})
    return filters.Sobolev(**given) if family == "sobolev" else filters.Gaussian(**given)


def _experiment(options: argparse.Namespace) -> int:
    from ..experiments import figure1, figure2, figure4, matched, sweep, table1
    from ..experiments.folder import Folder
    from ..experiments.photographs import find_photographs
    from ..experiments.work import Work

    if options.list:
        return _list_recipes(options)
    _check_experiment(options)
    subjects = _subjects(options)
    more = _given(options, "count", tuned_on="tune")
    if hasattr(options, "recipe"):
        more["settings"] = _published(options)
    photographs = find_photographs(options.photos) if hasattr(options, "photos") else None
    given = _given(options, "steps", "batch", "seed", "device")
    work = Work(Folder(options.output), progress=not options.quiet, **given)
    if photographs is not None:
        run = {"figure4": figure4.run, "table1": table1.run, "sweep": sweep.run}[options.name]
        rows = run(subjects, photographs, work, **more)  # type: ignore[operator]
    else:
        classes = [int(k) if _INTEGER.fullmatch(k) else k for k in options.target]
        maximise = {"figure1": figure1.run, "figure2": figure2.run, "matched": matched.run}[options.name]
        rows = maximise(subjects, classes, work, **more)  # type: ignore[operator]
    if options.json:
        print(json.dumps({"folder": options.output, "computed": work.folder.store.computed, "rows": rows}))
    else:
        _print_rows([_without_details(row) for row in rows])
        print(f"wrote {options.output}")
    return OK


def _list_recipes(options: argparse.Namespace) -> int:
    from ..experiments.published import PUBLISHED

    if options.json:
        print(json.dumps({name: each.recipe.to_dict() for name, each in PUBLISHED.items()}, indent=1))
        return OK
    _print_rows([each.summary() for each in PUBLISHED.values()])
    return OK


def _check_experiment(options: argparse.Namespace) -> None:
    """Complain about what is missing, and about options that the experiment has not."""
    if options.name is None:
        raise InputError(f"name an experiment ({', '.join(_EXPERIMENTS)}), or ask for --list")
    wanted = _EXPERIMENTS[options.name]
    for name in ("target", "layers", "photos", "count", "tune", "recipe"):
        flag = "class" if name == "target" else name
        if hasattr(options, name) and name not in wanted:
            raise InputError(f"--{flag} does not belong to experiment {options.name}")
        if name in ("target", "layers", "photos") and name in wanted and not hasattr(options, name):
            raise InputError(f"experiment {options.name} needs --{flag}")
    if not options.models:
        raise InputError(f"experiment {options.name} needs at least one MODEL")
    if not hasattr(options, "output"):
        raise InputError(f"experiment {options.name} needs -o FOLDER")


def _subjects(options: argparse.Namespace) -> list[Any]:
    """The networks of an experiment with their layers."""
    from ..experiments.layer_names import find_layer
    from ..experiments.work import Subject
    from ..network import load

    count = len(options.models)
    each = {name: _one_each(options, name, count) for name in ("preprocess", "labels", "layers")}
    subjects: list[Subject] = []
    for k, model in enumerate(options.models):
        given: dict[str, Any] = {name: each[name][k] for name in ("preprocess", "labels") if each[name]}
        net = load(model, **given)
        layers = each["layers"][k].split(",") if each["layers"] else []
        if net.name in (subject.net.name for subject in subjects):
            raise InputError(f"two networks are called {net.name!r}; rename one of the files")
        subjects.append(Subject(net, tuple(find_layer(net, layer) for layer in layers)))
    return subjects


def _one_each(options: argparse.Namespace, name: str, count: int) -> list[str]:
    """The values of an option, one for each network; none where it was not given."""
    values: list[str] = getattr(options, name, [])
    if len(values) not in (0, 1, count):
        raise InputError(f"--{name} has {len(values)} values for {count} networks; give one, or one for each")
    return values * count if len(values) == 1 else values


def _published(options: argparse.Namespace) -> Any:
    """The recipe asked for; for figure2 its two forms."""
    from ..experiments.published import FORMS, published

    if options.name != "figure2":
        return published(options.recipe)
    stem = "/".join(part for part in options.recipe.split("/") if part not in (*FORMS, "printed"))
    ending = "/printed" * options.recipe.endswith("/printed")
    return {form: published(f"{stem}/{form}{ending}") for form in FORMS}


def _without_details(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table without the bounds of its intervals, which the file has."""
    return {key: value for key, value in row.items() if not key.endswith(("_low", "_high"))}


_BENCH_OPTIONS = {
    "shape": ("filters", "tv"),
    "dtype": ("filters", "tv"),
    "model": ("gradient",),
}


def _bench(options: argparse.Namespace) -> int:
    from ..experiments import benchmark

    for name, whats in _BENCH_OPTIONS.items():
        if hasattr(options, name) and options.what not in whats:
            raise InputError(f"--{name} belongs to bench {' and '.join(whats)}, not to {options.what}")
    if options.full and (options.what != "filters" or hasattr(options, "shape")):
        raise InputError("--full belongs to bench filters without --shape")
    given = _given(options, "rounds", "threads", "dtype", "model", shapes="shape")
    if options.full:
        given["shapes"] = benchmark.ALL_SHAPES
    measure = {
        "filters": benchmark.benchmark_filters,
        "tv": benchmark.benchmark_tv,
        "gradient": benchmark.benchmark_gradient,
    }
    rows = measure[options.what](**given)  # type: ignore[operator]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        _print_rows(rows)
    return OK


# -- from options to calls


def _doctor(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from ..gradient import examine

    found = []
    for finding in examine(options.device):
        found.append(finding)
        if not options.json:
            print(f"{finding.state:8} {finding.subject}: {finding}", flush=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    return OK if found[-1].state == "ok" else FAILED


def _photos(net: Network, paths: Sequence[str], elsewhere: str) -> Any:
    """Photographs as the network takes them, (N, C, H, W)."""
    import numpy as np

    from ..pictures import read_image

    channels, *size = net.input_shape
    if channels not in (1, 3):
        raise InputError(
            f"{net.name} takes {channels} channels, but pictures have 1 or 3; "
            f"build the input as an array and use {elsewhere} in Python"
        )
    return np.stack([read_image(path, size=size, channels=channels) for path in paths])


def _top_classes(net: Network, photos: Any) -> list[int]:
    """The best class of each photograph, a background class left aside."""
    return [int(k) for k in net.scores(photos)[:, net.offset :].argmax(axis=1)]


def _attributed(net: Network, objective: Objective, photos: Any, options: argparse.Namespace) -> Any:
    """The maps of the method asked for, (N, H, W)."""
    from .. import attribution
    from ..filters import Sobolev

    given = _given(options, *(name for name in _ATTRIBUTION_OPTIONS if name != "gamma"))
    if options.method == "sobolev-saliency" or hasattr(options, "gamma"):
        given["filter"] = Sobolev(gamma=getattr(options, "gamma", _ATTRIBUTION_GAMMA))
    if options.method == "integrated-gradients":
        given["reduce"] = "sum"
    device, *others = _device(options)
    if others:
        raise InputError("attribute takes a single --device")
    given["device"] = device
    methods: dict[str, Callable[..., Any]] = {
        "saliency": attribution.saliency,
        "sobolev-saliency": attribution.saliency,
        "smooth-grad": attribution.smooth_grad,
        "integrated-gradients": attribution.integrated_gradients,
        "grad-cam": attribution.grad_cam,
    }
    return methods[options.method](net, objective, photos, **given)


def _given(options: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """The options that were given, as keyword arguments."""
    pairs = [(name, name) for name in names] + list(renamed.items())
    return {keyword: getattr(options, option) for keyword, option in pairs if hasattr(options, option)}


def _load(options: argparse.Namespace) -> Network:
    from ..network import load

    return load(options.model, **_of_the_model(options))


def _of_the_model(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of the model, as keyword arguments of `load`."""
    return _given(options, "preprocess", "labels", "background", "input_shape", "threads")


def _composed(options: argparse.Namespace) -> Network:
    """The network behind the generator that was given."""
    from ..network import compose

    return compose(options.generator, options.model, **_of_the_model(options))


def _objective(options: argparse.Namespace) -> Objective:
    from ..objectives import Channel, Class, Direction, Layer, Neuron

    if hasattr(options, "target"):
        targets = [int(t) if _INTEGER.fullmatch(t) else t for t in options.target]
        return Class(targets[0] if len(targets) == 1 else targets)
    if hasattr(options, "channel"):
        layer, units = _of_one_layer("--channel", options.channel)
        return Channel(layer, *units)
    if hasattr(options, "neuron"):
        layer, units = _of_one_layer("--neuron", options.neuron)
        return Neuron(layer, *units)
    if hasattr(options, "direction"):
        if len(options.direction) > 1:
            raise InputError(
                "--direction is given once; its file may hold a vector for each image of --batch"
            )
        layer, path = options.direction[0]
        return Direction(layer, _read_vector(path))
    if len(options.objective_layer) > 1:
        raise InputError("--layer is given once")
    return Layer(options.objective_layer[0])


def _caricature(net: Network, layer: str, photo: str) -> Objective:
    from ..objectives import Caricature

    return Caricature(layer, _photos(net, [photo], "sf.Caricature"))


def _inversion(net: Network, layer: str, photos: Sequence[str], options: argparse.Namespace) -> Objective:
    from ..objectives import Inversion

    net.layer(layer)
    images = _photos(net, photos, "sf.Inversion")
    return Inversion(layer, images, **_given(options, "p"))


def _read_vector(path: str) -> Any:
    import numpy as np

    try:
        vector = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: no array in NumPy's format can be read from it ({error})") from None
    if not isinstance(vector, np.ndarray):
        raise InputError(f"{path}: holds several arrays; write the one meant with numpy.save")
    return vector


def _of_one_layer(flag: str, given: list[tuple[str, tuple[int, ...]]]) -> tuple[str, list[Any]]:
    """The layer, and its units as one index (or list of indices, for a batch) per axis."""
    layer = given[0][0]
    if any(other != layer or len(unit) != len(given[0][1]) for other, unit in given):
        raise InputError(f"{flag} can be repeated for units of one layer only, all written alike")
    axes = zip(*(unit for _, unit in given), strict=True)
    return layer, [axis[0] if len(given) == 1 else list(axis) for axis in axes]


_SCHEME_FILTER_OPTIONS = ("filter", "size", "gamma", "sigma", "sigma_range", "levels")

_SCHEME_OPTIONS = ("scheme", *_SCHEME_FILTER_OPTIONS, "tv_weight", "natural_colour")


def _scheme(options: argparse.Namespace, default: str) -> Scheme | None:
    """The scheme asked for; None where the library's default is to be used."""
    if not any(hasattr(options, name) for name in _SCHEME_OPTIONS):
        return None
    scheme = _named_scheme(options, default)
    if not hasattr(options, "natural_colour"):
        return scheme
    from dataclasses import replace

    from ..filters import Identity
    from ..maps import NaturalColour

    plain = isinstance(scheme.K_f, Identity)
    return replace(scheme, K_f=NaturalColour() if plain else NaturalColour() @ scheme.K_f)


def _named_scheme(options: argparse.Namespace, default: str) -> Scheme:
    from .. import schemes

    family = getattr(options, "filter", None)
    default = {"bilateral": "elastic", "multiscale": "fluid"}.get(str(family), default)
    name = getattr(options, "scheme", "tv" if hasattr(options, "tv_weight") else default)
    if hasattr(options, "tv_weight") and name != "tv":
        raise InputError(f"--tv-weight belongs to --scheme tv, not to --scheme {name}")
    filter_given = any(hasattr(options, key) for key in _SCHEME_FILTER_OPTIONS)
    if name in ("tv", "none") and filter_given:
        raise InputError(f"--scheme {name} has no filter; leave out --filter, --size, --gamma and --sigma")
    if name == "tv":
        return schemes.proximal_tv(getattr(options, "tv_weight", 0.01))
    if name == "none":
        return schemes.gradient_descent()
    if family == "bilateral" and name != "elastic":
        raise InputError("--filter bilateral smooths the image, not the update; use --scheme elastic")
    if family == "multiscale" and name != "fluid":
        raise InputError("--filter multiscale is for the update, not the image; use --scheme fluid")
    make = {"fluid": schemes.fluid, "elastic": schemes.elastic, "fluid-elastic": schemes.fluid_elastic}
    return make[name](_filter(options))


def _filter(options: argparse.Namespace) -> Any:
    from .. import filters
    from ..maps import Bilateral, Multiscale

    family = getattr(options, "filter", "gaussian" if hasattr(options, "sigma") else "sobolev")
    if hasattr(options, "sigma_range") and family != "bilateral":
        raise InputError(f"--sigma-range belongs to --filter bilateral, not to {family}")
    if family == "sobolev" and hasattr(options, "sigma"):
        raise InputError("--sigma belongs to --filter gaussian; the Sobolev filter has --gamma")
    if family != "sobolev" and hasattr(options, "gamma"):
        raise InputError(f"--gamma belongs to --filter sobolev; the {family} filter has --sigma")
    if hasattr(options, "levels") and family != "multiscale":
        raise InputError(f"--levels belongs to --filter multiscale, not to {family}")
    if family == "bilateral":
        return Bilateral(**_given(options, "size", "sigma", "sigma_range"))
    if family == "multiscale":
        if any(hasattr(options, name) for name in ("size", "sigma")):
            raise InputError("--filter multiscale has --levels, and neither --size nor --sigma")
        return Multiscale(**_given(options, "levels"))
    if family == "sobolev":
        return filters.Sobolev(**_given(options, "size", "gamma"))
    return filters.Gaussian(**_given(options, "size", "sigma"))


def _descend(
    run: Any, net: Network, objective: Objective, options: argparse.Namespace, scheme: str
) -> Result:
    from ..descent import Fourier, Phase

    given = _given(
        options,
        *("steps", "tau", "schedule", "optimizer", "normalise", "canvas", "octaves"),
        *("jitter", "crops", "rotate", "zoom", "noise", "seed", "batch", "snapshots"),
    )
    given["device"] = _device(options)
    given["autosave"] = _partial(options)
    if given.get("normalise") == "none":
        given["normalise"] = None
    if hasattr(options, "parametrization"):
        given["parametrization"] = {"fourier": Fourier, "phase": Phase}[options.parametrization]()
    chosen = _scheme(options, scheme)
    if chosen is not None:
        given["scheme"] = chosen
    try:
        result: Result = run(net, objective, progress=not options.quiet, **given)
    except SobolevflowError as error:
        _save_partial(getattr(error, "result", None), options)
        raise
    return result


def _device(options: argparse.Namespace) -> Any:
    from ..devices import Device

    names = getattr(options, "device", "cpu").split(",")
    return [Device(name, **_given(options, "precision", "tf32")) for name in names]


def _partial(options: argparse.Namespace) -> Path:
    """Where the picture so far is kept during the run."""
    path = Path(options.output)
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def _remove_partial(options: argparse.Namespace) -> None:
    path = _partial(options)
    for each in (path, *path.parent.glob(f"{glob.escape(path.stem)}-*{path.suffix}")):  # of several devices
        each.unlink(missing_ok=True)


def _save_partial(partial: Result | None, options: argparse.Namespace) -> None:
    """Keep the picture that a failed run had reached."""
    if partial is not None:
        _say(f"saved what there was to {partial.save(options.output)}")
        _partial(options).unlink(missing_ok=True)  # those of other devices stay


def _check_outputs(options: argparse.Namespace) -> None:
    """Fail on an output that cannot be written before the work, not after it."""
    from ..pictures import check_writable

    check_writable(options.output)
    if hasattr(options, "report"):
        check_writable(options.report, endings=(".html", ".htm"))


def _indices(net: Network, objective: Objective) -> list[int] | None:
    """Output indices of the classes asked for; None where the objective is no class."""
    from ..objectives import Class

    return objective.indices(net) if isinstance(objective, Class) else None


def _finish(net: Network, result: Result, options: argparse.Namespace, asked: list[int] | None = None) -> int:
    from ..results import manifest_path

    path = result.save(options.output)
    _remove_partial(options)
    report = result.report(options.report) if hasattr(options, "report") else None
    top = _judged(net, result)
    if options.json:
        names = None if top is None else [net.class_name(k) for k in top]
        outcome = {"picture": str(path), "manifest": str(manifest_path(path)), "top1": names}
        print(json.dumps({**outcome, "report": report and str(report), **result.manifest["outcome"]}))
    else:
        _print_outcome(result, path, report)
        _print_judgement(net, top, asked)
    if not options.quiet:
        for note in result.notes:
            _say(f"note: {note}")
    return INTERRUPTED if result.interrupted else OK


def _judged(net: Network, result: Result) -> list[int] | None:
    """Which class the network itself sees in each image; None where it has none, or sees only a part."""
    if result.u.shape[1:] != net.input_shape:
        return None
    try:
        return [int(k) for k in net.top(result.u)[:, 0]]
    except SobolevflowError:
        return None


# -- printing


def _note(net: Network, options: argparse.Namespace) -> None:
    if not options.quiet:
        for note in net.notes():
            _say(f"note: {note}")


def _print_outcome(result: Result, path: Path, report: Path | None) -> None:
    steps, first, last = len(result.history), result.history.value, result.value
    change = "" if last is None or not steps else f", value {first[0].mean():.4g} -> {last.mean():.4g}"
    seconds = result.manifest["timings"]["seconds"]
    print(f"wrote {path} ({steps} steps in {seconds:.1f} s{change})")
    if report is not None:
        print(f"wrote {report}")


def _print_judgement(net: Network, top: list[int] | None, asked: list[int] | None) -> None:
    """The network's own top-1 of each image, by the first of the class's names."""
    if top is None:
        return
    wanted = asked * len(top) if asked and len(asked) == 1 else asked or top
    words = [
        net.class_name(k).split(",")[0] + ("" if k == w else " (not the class asked for)")
        for k, w in zip(top, wanted, strict=True)
    ]
    print(f"the network's own top-1: {'; '.join(words)}")


def _print_signature(facts: dict[str, Any]) -> None:
    size = f"{facts['nodes']} nodes, {facts['bytes'] / 1e6:.1f} MB of constants"
    print(f"wrote {facts['model']}: {facts['gradient_of']}; {size}")
    rows = []
    for kind in ("input", "output"):
        for tensor in facts[f"{kind}s"]:
            default = ""
            if tensor.get("optional"):
                given = tensor["default"]
                default = "default in the file" if given is None else f"default {json.dumps(given)}"
            shape = " x ".join(map(str, tensor["shape"])) or "scalar"
            rows.append((kind, tensor["name"], shape, tensor["dtype"], default))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


_MOST_LABELS = 32  # class names that inspect prints; --json has them all


def _layer_dict(info: LayerInfo) -> dict[str, Any]:
    shape = None if info.shape is None else list(info.shape)
    return {**vars(info), "shape": shape}


def _print_network(net: Network, layers: list[LayerInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    # into a buffer first: a reader of our output that goes away, as `| head` does, is then no error of rich's
    # and so wide that no layer's name is cut
    console = Console(file=io.StringIO(), width=10_000, highlight=False)
    facts = net.to_dict()
    if facts["classes"] is None:
        del facts["scores"]
    if net.labels is not None and len(net.labels) > _MOST_LABELS:
        del facts["labels"]
    for key, value in facts.items():
        if value is not None:
            console.print(f"[bold]{key:<12}[/bold] {_readable(value)}")
    table = Table("layer", "operator", "shape", "dtype", "gradient", box=None, header_style="bold")
    for info in layers:
        shape = "?" if info.shape is None else " x ".join(map(str, info.shape))
        table.add_row(_escaped(info.name), info.op, shape, info.dtype, "yes" if info.differentiable else "no")
    console.print(table)
    for note in net.notes():
        console.print(f"[dim]note: {_escaped(note)}[/dim]")
    print(console.file.getvalue(), end="", flush=True)  # type: ignore[attr-defined]


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """A table of rows that all have the same keys."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=io.StringIO(), width=10_000, highlight=False)
    table = Table(*(key.replace("_", " ") for key in rows[0]), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)
    print(console.file.getvalue(), end="", flush=True)  # type: ignore[attr-defined]


def _cell(value: Any) -> str:
    if value is None:  # nothing to tell, as of the first call of a copy
        return ""
    return f"{value:.4g}" if isinstance(value, float) else _readable(value)


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={_readable(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        join = " x " if all(isinstance(v, int) for v in value) else ", "
        return join.join(_escaped(str(v)) for v in value)
    return _escaped(str(value))


def _escaped(text: str) -> str:
    """Square brackets in names are not markup."""
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    sys.exit(main())
