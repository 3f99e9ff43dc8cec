"""What the room offers to others, each name declared once."""

from .history import History as History, Record as Record
from .manifest import as_text as as_text, model_facts as model_facts, plain as plain, versions as versions
from .page import html_page as html_page, notebook_view as notebook_view
from .result import (
    Result as Result,
    StoppedBy as StoppedBy,
    as_pictures as as_pictures,
    manifest_path as manifest_path,
)
