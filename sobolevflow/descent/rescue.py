"""What had been reached when a descent failed: kept, and attached to the error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..arrays import Array
from ..devices import Device, explained, is_of_device
from ..errors import DeviceError, GradientError, SobolevflowError
from .autosave import Autosave
from .revival import NoGradientError

if TYPE_CHECKING:
    from ..results import Result
    from .log import Log


class DescentError(GradientError):
    """The gradient failed on the way down.

    Parameters
    ----------
    message : str
        What failed, and at which step.
    result : Result or None
        What had been reached; None before the first step was taken.
    """

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


class Rescue:
    """Attaches to errors what had been reached.

    Parameters
    ----------
    device : Device
    log : Log
    autosave : Autosave
    images : callable
        The images as they are now, on the host.
    reached : callable
        The result with images of the host.
    """

    def __init__(
        self,
        device: Device,
        log: Log,
        autosave: Autosave,
        images: Callable[[], Array],
        reached: Callable[[Array], Result],
    ) -> None:
        self._device, self._log, self._autosave = device, log, autosave
        self._images, self._reached = images, reached

    @contextmanager
    def failing(self) -> Iterator[None]:
        """A context whose errors leave with what had been reached."""
        try:
            yield
        except NoGradientError as error:
            raise self._failed(error.full) from error
        except GradientError as error:
            raise self._failed(f"Step {len(self._log.records) + 1}: {error.full}") from error
        except DeviceError as error:
            self._rescue(error)
            raise
        except SobolevflowError:
            raise
        except Exception as error:
            # what a function of the user's raises is his
            if self._device.on_host or not is_of_device(error):
                raise
            failure = explained(error, str(self._device))
            self._rescue(failure)
            raise failure from error

    def _failed(self, message: str) -> DescentError:
        if not self._log.records:
            return DescentError(message, None)
        self._log.stop("error", message)
        u = self._images()
        self._autosave.save(u)
        return DescentError(message, self._reached(u))

    def _rescue(self, error: DeviceError) -> None:
        """Attach to a device's failure the images that can still be had: these, or those of a while ago."""
        self._log.stop("error", error.full)
        try:
            u = self._images()
        except Exception:  # the device is gone, with all that lay there
            if self._autosave.latest is None:
                return
            step, u = self._autosave.latest
            self._log.notes.append(f"The images are those after step {step}, when they were last saved.")
        if self._log.records:
            self._autosave.save(u)
            error.result = self._reached(u)
