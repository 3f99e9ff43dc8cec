"""``python -m sobolevflow`` is the ``sobolevflow`` command."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
