"""Results for people to look at: contact sheets, heat maps and self-contained HTML pages."""

from __future__ import annotations

from .contact_sheet import contact_sheet
from .heatmap import heatmap
from .page import html_page, notebook_view

__all__ = ["contact_sheet", "heatmap", "html_page", "notebook_view"]
