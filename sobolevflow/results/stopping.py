"""How a descent ended, in words."""

from __future__ import annotations

from .manifest import Manifest


def budget_spent(
    by: str, *, seconds: float | None, patience: int | None, maximize: bool, of_octave: bool = False
) -> str:
    """What had happened when a budget was spent; `by` is "seconds" or "patience", the others as given."""
    if by == "patience":
        moved, steps = "risen" if maximize else "fallen", "step" if patience == 1 else "steps"
        return f"the value had not {moved} for {patience} {steps}"
    passed = "1 second" if seconds == 1 else f"{seconds:g} seconds"
    return f"its part of {passed} had passed" if of_octave else f"{passed} had passed"


def stopped_after(taken: int, planned: int, why: str) -> str:
    """A sentence that says after which step a descent ended, and why."""
    return f"Stopped after {taken} of {planned} steps: {why}."


def stopped_in_words(manifest: Manifest) -> str:
    """Whether all steps were taken, or after which a descent ended and why: a sentence."""
    outcome, parameters = manifest.outcome, manifest.parameters
    by, taken, planned = outcome.stopped_by, outcome.steps, parameters["steps"]
    if by == "steps":
        return f"All {planned} steps were taken."
    if by in ("seconds", "patience"):
        why = budget_spent(
            by,
            seconds=parameters.get("seconds"),
            patience=parameters.get("patience"),
            maximize=bool(manifest.objective["maximize"]),
        )
        return stopped_after(taken, planned, why)
    how = {"interrupt": "Interrupted", "callback": "Stopped by the callback", "error": "Ended by an error"}
    return f"{how[by]} after {taken} of {planned} steps."
