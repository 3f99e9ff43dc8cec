"""Results for people to look at: contact sheets and self-contained HTML pages."""

from __future__ import annotations

from .contact_sheet import contact_sheet
from .page import html_page, notebook_view

__all__ = ["contact_sheet", "html_page", "notebook_view"]
