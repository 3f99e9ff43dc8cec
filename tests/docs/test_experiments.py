"""The pages on recipes and experiments say what was measured, and their commands exist."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from sobolevflow.cli.main import build_parser
from sobolevflow.descent.defaults import natural_recipe
from sobolevflow.experiments.recipes import INVERT, METHODS, Recipe
from tests.support.paths import DOCS, ROOT
from tests.support.snippets import prose, run_snippets

RECIPES, EXPERIMENTS = DOCS / "recipes.md", DOCS / "experiments.md"
pytestmark = pytest.mark.skipif(
    not RECIPES.exists(), reason="the documentation is not part of a source archive"
)


def test_what_the_readme_says_of_the_recipe_is_in_the_record(bench: Any) -> None:
    script = bench("beside_lucent")
    record = json.loads(script.RECORD.read_text())
    ours, theirs = record["rows"]
    ratio = ours["mean_top1"] / theirs["mean_top1"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"recognise it {ratio:.2f} times as often" in readme
    assert ratio >= 1.25  # what the default is to reach
    assert record["classes"] >= 40
    assert script.PICTURE.stat().st_size < 250_000


def test_the_snippets_of_the_page_on_recipes_are_one_recipe() -> None:
    text = RECIPES.read_text(encoding="utf-8")
    names = run_snippets(text)
    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert names["result"].u.shape == (1, 3, 96, 96)
    settings = second.replace("sf.visualize", "dict").replace("net,", "").replace('sf.Class("spiral"),', "")
    written = eval(settings, names)
    assert {**natural_recipe("visualize", (3, 224, 224)), "steps": 20} == written
    assert "visualize(net" in first


def test_the_default_of_invert_is_the_recipe_of_the_table() -> None:
    default = Recipe(steps=160, **natural_recipe("invert", (3, 224, 224)))
    assert default.to_dict() in [candidate.to_dict() for candidate in METHODS["natural colour"]]


def test_every_method_was_tuned_alike_and_ours_is_ahead(bench: Any) -> None:
    script = bench("experiments")
    rows, tuning = script.read(script.TABLE), script.read(script.TUNING)
    assert script.SHEET.stat().st_size < 400_000
    facts = json.loads(script.FACTS.read_text())
    assert len(facts["report"]) >= 40
    assert not set(facts["report"]) & set(facts["tuning"])
    for network in {row["network"] for row in tuning}:
        for method in METHODS:
            tried = (
                []
                if method == INVERT
                else [row for row in tuning if (row["network"], row["method"]) == (network, method)]
            )
            assert len(tried) in (0, len(METHODS[method]))
            assert sum(row["chosen"] == "True" for row in tried) == bool(tried)
    # in both directions the one default is recognised at least 1.5 times as often as the best of the paper's
    ratios = []
    for each in script.by_layer(rows).values():
        share = {row["method"]: float(row["top1"]) for row in each}
        ratios.append(share[INVERT] / max(share[method] for method in script.PAPERS))
    assert min(ratios) >= 1.5
    said = " ".join(RECIPES.read_text(encoding="utf-8").split())
    assert f"recognised {min(ratios):.2f} to {max(ratios):.2f} times as often" in said


DEEP, SHALLOW = 0, 1
SQUEEZENET, MOBILENET = "squeezenet1_1", "mobilenet_v2"


@pytest.fixture
def table(bench: Any) -> dict[str, list[dict[str, dict[str, str]]]]:
    """By network, the deeper layer first: the rows of the table, by method."""
    script = bench("experiments")
    found: dict[str, list[dict[str, dict[str, str]]]] = {}
    for (network, *_), rows in script.by_layer(script.read(script.TABLE)).items():
        found.setdefault(network, []).append({row["method"]: row for row in rows})
    return found


def shares(table: Any, network: str, method: str) -> list[float]:
    """The top-1 of a method, of the deeper and of the shallower layer."""
    return [float(rows[method]["top1"]) for rows in table[network]]


def spelt(values: list[float]) -> str:
    return " and ".join(dict.fromkeys(f"{value:.2f}" for value in values))


def beyond_chance(one: float, other: float, count: int = 40) -> bool:
    """Whether Fisher's exact test tells two shares of `count` photographs apart, at 5 %."""
    hits = [round(count * share) for share in (one, other)]
    return bool(stats.fisher_exact([[k, count - k] for k in hits]).pvalue < 0.05)


def test_without_regularisation_little_is_recognised(table: Any) -> None:
    of_mobilenet = shares(table, MOBILENET, "none")
    assert shares(table, SQUEEZENET, "none") == [0, 0]
    assert max(of_mobilenet) == of_mobilenet[SHALLOW] == 0.1
    assert (
        "without it the other network recognises one reconstruction in ten at best (MobileNetV2's shallower "
        "layer), and from SqueezeNet none"
    ) in prose(EXPERIMENTS)


def test_the_better_demons_depend_on_the_direction(table: Any) -> None:
    text = prose(EXPERIMENTS)
    both = [shares(table, network, "Sobolev fluid-elastic") for network in (SQUEEZENET, MOBILENET)]
    fluid = [shares(table, network, "Sobolev fluid") for network in (SQUEEZENET, MOBILENET)]
    assert fluid[0] == [0, 0]
    assert (
        f"fluid-elastic demons are ahead ({spelt(both[0])}), and fluid ones are not recognised at all" in text
    )
    assert f"it is fluid ones ({spelt(fluid[1])} at both layers, against {spelt(both[1])})" in text
    tv = [shares(table, network, "TV") for network in (SQUEEZENET, MOBILENET)]
    assert all(least < value < most for least, value, most in zip(fluid[0], tv[0], both[0], strict=True))
    assert tv[1][DEEP] < fluid[1][DEEP]
    assert all(map(beyond_chance, fluid[0], both[0]))
    assert not any(map(beyond_chance, fluid[1], both[1]))
    widths = [
        float(row["top1_high"]) - float(row["top1_low"])
        for layers in table.values()
        for rows in layers
        for name, row in rows.items()
        if name in ("TV", "Sobolev fluid", "Sobolev fluid-elastic") and float(row["top1"])
    ]
    assert f"With 40 photographs an interval is about {statistics.mean(widths):.1f} wide" in text


def test_elastic_demons_and_gaussian_filters_are_as_is_said(table: Any, bench: Any) -> None:
    text = prose(EXPERIMENTS)
    elastic = {network: shares(table, network, "Sobolev elastic") for network in table}
    assert (
        f"from SqueezeNet they are as good ({spelt(elastic[SQUEEZENET])}), from MobileNetV2 hardly anything "
        f"is recognised ({spelt(elastic[MOBILENET])})"
    ) in text
    apart = []
    for network in table:
        for place in ("fluid", "elastic", "fluid-elastic"):
            ours, theirs = (shares(table, network, f"{family} {place}") for family in ("Sobolev", "Gaussian"))
            for layer, pair in enumerate(zip(ours, theirs, strict=True)):
                if beyond_chance(*pair):
                    apart.append((network, layer, place, *pair))
    ((network, layer, place, sobolev, gaussian),) = apart
    assert (network, layer, place, sobolev) == (SQUEEZENET, SHALLOW, "fluid", 0)
    assert f"as K_f, from SqueezeNet's shallower layer, {40 * gaussian:.0f} of 40 against none" in text
    gammas = [
        float(re.findall(r"gamma ([0-9.]+)", table[SQUEEZENET][DEEP][method]["recipe"])[0])
        for method in ("default of invert", "Sobolev fluid")
    ]
    assert round(gammas[0] / gammas[1], -2) == 800
    assert "as the gamma of the default shows, eight hundred times larger" in text


def test_how_the_table_was_made_is_said(bench: Any) -> None:
    script, text = bench("experiments"), prose(EXPERIMENTS)
    facts = json.loads(script.FACTS.read_text())
    (steps,) = {row["evaluations"] for row in script.read(script.TABLE) if row["evaluations"]}
    count, tuned = len(facts["report"]), len(facts["tuning"])
    assert (
        f"{count} photographs of ImageNet's classes, {steps} gradient evaluations each, {tuned} other "
        "photographs to tune on"
    ) in text
    assert f"--count {count} --tune {tuned} --steps {steps}" in text
    assert {len(METHODS[method]) for method in METHODS if method != INVERT} == {6}
    assert "Every method has six candidates" in text
    jitter = natural_recipe("invert", (3, 224, 224))["jitter"]
    (named,) = {row["recipe"] for row in script.read(script.TABLE) if row["method"] == INVERT}
    assert f"gamma = 300 with a jitter of {jitter} pixels" in text
    assert "gamma 300," in named
    gammas = dict.fromkeys(row["gamma"] for row in script.read(script.CHOICE))
    assert "Between gamma 1000 and 300, by the mean probability on 40 photographs" in text
    assert gammas.keys() == {"1000", "300"}


@pytest.mark.parametrize("page", [RECIPES, EXPERIMENTS, ROOT / "README.md"], ids=lambda page: page.name)
def test_commands_of_experiments_can_be_parsed(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"sobolevflow experiment [^`\n]*", text)
    for command in commands:
        build_parser().parse_args(shlex.split(command)[1:])
    assert commands or page == RECIPES
