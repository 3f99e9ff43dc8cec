"""What the room offers to others, each name declared once."""

from .comparison import Comparison as Comparison
from .history import History as History, Record as Record
from .manifest import (
    FORMAT as FORMAT,
    Identified as Identified,
    Manifest as Manifest,
    Outcome as Outcome,
    StoppedBy as StoppedBy,
    Timings as Timings,
    as_text as as_text,
    environment as environment,
    model_facts as model_facts,
    plain as plain,
    versions as versions,
)
from .result import (
    PAGES as PAGES,
    Result as Result,
    as_pictures as as_pictures,
    manifest_path as manifest_path,
)
from .saved import Saved as Saved
from .stopping import (
    budget_spent as budget_spent,
    stopped_after as stopped_after,
    stopped_in_words as stopped_in_words,
)
