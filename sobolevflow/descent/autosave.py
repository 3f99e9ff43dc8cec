"""The images of a descent as they were a while ago, for the case that it cannot be brought to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..arrays import Array
from ..devices import Later, Memory
from ..errors import OutputError, warn_once
from ..pictures import Pixels, write_arranged

SECONDS = 10.0  # between two copies


class Autosave:
    """Copies of the images on the host, and on disk where a path is given.

    Parameters
    ----------
    memory : Memory
        Where the images lie. What lies on the host anyway is copied for the disk only.
    path : Path, optional
        A picture that is replaced, in one step, whenever a copy has arrived.
    drawn : callable
        From images (N, C, H, W) to pictures (N, H, W, C) uint8.
    """

    def __init__(self, memory: Memory, path: Path | None, drawn: Callable[[Array], Pixels]) -> None:
        self._memory, self._path, self._drawn = memory, path, drawn
        self._wanted = path is not None or memory.kind != "cpu"
        self._due = time.monotonic() + SECONDS
        self._underway: tuple[int, Later] | None = None
        self.latest: tuple[int, Array] | None = None

    def offer(self, step: int, u: Array) -> None:
        """Tell that after `step` steps the images are `u`; they are copied if it is time, not waited for."""
        if self._underway is not None and self._underway[1].there:
            self._take()
        if self._wanted and self._underway is None and time.monotonic() >= self._due:
            self._underway = step, self._memory.later(u)
            self._due = time.monotonic() + SECONDS
            if self._underway[1].there:
                self._take()

    def save(self, u: Array) -> None:
        """Write images of the host to the path, if there is one; a full disk does not end hours of work."""
        if self._path is None:
            return
        try:
            write_arranged(self._path, self._drawn(u))
        except OutputError as error:
            warn_once(f"{error} The descent goes on, and what it has reached is not kept meanwhile.")

    def _take(self) -> None:
        assert self._underway is not None
        step, later = self._underway
        self._underway, self.latest = None, (step, later.get())
        self.save(self.latest[1])
