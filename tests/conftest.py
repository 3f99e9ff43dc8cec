"""Settings of the whole suite."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: the first call of a test may compile a kernel or build a session, on a machine that is busy.
settings.register_profile("sobolevflow", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("sobolevflow")
