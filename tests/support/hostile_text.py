"""Text that a terminal or a browser would act upon, and an oracle that finds what of it is left."""

from __future__ import annotations

import unicodedata

from hypothesis import strategies as st

TRAPS = (
    *("\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\x00", "\x08\x08", "\r", "\n", "\x7f", "\x85", "\t"),
    *(
        "\u202e",
        "\u202a",
        "\u2066",
        "\u2069",
        "\u200b",
        "\u200f",
        "\u2028",
        "\u2029",
        "\ufeff",
        "\udcff",
        "\ud800",
    ),
    *(
        "[red]",
        "[/blue]",
        ":bug:",
        "{task}",
        "%s",
        "$x$",
        "<b>",
        "&amp;",
        "'",
        '"',
        "\\",
        "e" + 20 * "\u0301",
    ),
    *("\U000e0041", "\ue000", "螺旋", "🦀", "y" * 260, "x" * 700, "long words " * 90),
)

texts = st.lists(st.one_of(st.sampled_from(TRAPS), st.text(max_size=8)), min_size=1, max_size=6).map("".join)
"""Anything at all, lone surrogates among it."""

names = texts.map(lambda text: text.encode(errors="ignore").decode()).filter(bool)
"""What a file in UTF-8 can hold."""


def dangerous(text: str, allowed: str = "") -> set[str]:
    """Characters that a terminal obeys or hides, that turn text around, or that cannot be encoded."""
    hidden = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")}
    run = 0
    for character in text:
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if run > 4:
            hidden.add(character)
    return hidden - set(allowed)
