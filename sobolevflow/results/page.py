"""One HTML page about a descent, complete in itself: pictures as data URIs, curves as inline SVG."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ..pictures import Pixels, encode, tiled, viewable
from ..text import MOST, escaped, one_line, pieces, shortened
from .curve import curve
from .history import History
from .manifest import Manifest, as_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto }
body { padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin-top: 2rem }
.quiet { color: #666 }
.note { background: #fff4d6; padding: .5rem .8rem; border-left: 3px solid #e0a800 }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0 }
figure img { width: 14rem; display: block }
.strip img { width: 7rem }
figcaption { font-size: .85rem; color: #666 }
table { border-collapse: collapse }
th { text-align: left; font-weight: 500; padding: .15rem 1.5rem .15rem 0; vertical-align: top }
td { font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere }
tr { border-bottom: 1px solid #eee }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .8rem }
svg { max-width: 100%; height: auto }
mark { background: #fbd3d3 }
"""

_CAVEAT = (
    "A picture like this shows what an input needs in order to please the objective. It is evidence "
    "about the network, not proof of how natural images are processed: see Geirhos et al., arXiv:2306.04719."
)


def html_page(
    images: Pixels,
    history: History,
    snapshots: Mapping[int, Pixels],
    notes: Sequence[str],
    manifest: Manifest,
) -> str:
    """Write about a descent; the parameters are the fields of the `Result` of the same names.

    Parameters
    ----------
    images : (N, H, W, C) uint8 array
    history : History
    snapshots : mapping
        From numbers of steps to (N, H, W, C) uint8 arrays.
    notes : sequence of str
    manifest : Manifest

    Returns
    -------
    str
        HTML that refers to nothing outside itself; to be encoded in UTF-8.
    """
    title = f"{manifest.objective['label']} · {manifest.model['name']}"
    parts = [
        f"<h1>{_text(shortened(title, MOST))}</h1>",
        f'<p class="quiet">{escape(_summary(manifest))}</p>',
        *(f'<p class="note">{_text(one_line(note))}</p>' for note in notes),
        _pictures(images, manifest),
        _snapshots(snapshots),
        _curves(history),
        _effective_weight(manifest.outcome.effective_weight),
        "<h2>Parameters</h2>",
        _table(_flat(manifest.parameters)),
        "<h2>Model and objective</h2>",
        _table([*_flat(manifest.model), *_flat(manifest.objective, "objective.")]),
        "<h2>Manifest</h2>",
        "<details><summary>The complete record of the run, as JSON</summary>",
        f"<pre>{escape(as_text(manifest.to_dict()))}</pre></details>",
        f'<p class="quiet">{escape(_CAVEAT)}</p>',
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(one_line(title))}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def notebook_view(picture: Pixels, manifest: Manifest) -> str:
    """A fragment of HTML for notebooks: the picture, (H, W, 1 or 3) uint8, and one line about it."""
    return (
        f'<div><img alt="{escape(one_line(manifest.objective["label"]))}" src="{_data_uri(picture)}">'
        f"<p>{escape(_summary(manifest))}</p></div>"
    )


def _summary(manifest: Manifest) -> str:
    values = ", ".join(f"{v:.4g}" for v in manifest.outcome.value or ())
    reached = f"; value {values}" if values else ""
    return f"{manifest.outcome.steps} steps in {manifest.timings.seconds:.1f} s{reached}"


def _pictures(images: Pixels, manifest: Manifest) -> str:
    values = manifest.outcome.value
    seed = manifest.parameters["seed"]
    figures = [
        _figure(image, f"seed {seed + i}" + ("" if values is None else f", value {values[i]:.4g}"))
        for i, image in enumerate(images)
    ]
    return f'<div class="pictures">{"".join(figures)}</div>'


def _snapshots(snapshots: Mapping[int, Pixels]) -> str:
    if not snapshots:
        return ""
    figures = [
        _figure(tiled([viewable(image) for image in images]), f"after {step} steps")
        for step, images in sorted(snapshots.items())
    ]
    return f'<h2>On the way</h2>\n<div class="pictures strip">{"".join(figures)}</div>'


def _curves(history: History) -> str:
    if len(history) < 2:
        return ""
    changes = (np.flatnonzero(np.diff(history.octave)) + 1).tolist()
    curves = [
        curve(history.value, "value of the objective, as the network saw it", marks=changes),
        curve(history.mean_abs_gradient, "mean |gradient|", marks=changes),
        curve(255 * history.rms_step, "RMS of the step, in grey levels of 255", marks=changes),
    ]
    if history.tv_iterations is not None:
        curves.append(curve(history.tv_iterations[:, None], "iterations of the TV step", marks=changes))
    return "<h2>History</h2>\n" + "\n".join(curves)


def _effective_weight(problem: dict[str, Any] | None) -> str:
    if problem is None:
        return ""
    return (
        f"<p>Effective weight of the regulariser {_text(problem['regulariser'])}: "
        f"<b>{problem['weight']:.4g}</b> ({escape(problem['meaning'])}).</p>"
    )


def _figure(image: Pixels, caption: str) -> str:
    picture = f'<img alt="{escape(caption, quote=True)}" src="{_data_uri(viewable(image))}">'
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _data_uri(pixels: Pixels) -> str:
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode()


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _text(text: str) -> str:
    """The text of an element: what cannot be seen, or turns around what stands beside it, is marked."""
    return "".join(escape(part) if plain else f"<mark>{escaped(part)}</mark>" for part, plain in pieces(text))


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as rows with dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in data.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _shown(value)))
    return rows


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
