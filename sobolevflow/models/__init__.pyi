"""What the room offers to others, each name declared once."""

from .bundled import BUILTIN as BUILTIN, builtin_or_path as builtin_or_path, path as path
from .modules import (
    Converted as Converted,
    convert as convert,
    input_size_of as input_size_of,
    library_of as library_of,
    name_of as name_of,
)
from .onnx_file import (
    METADATA_LABELS as METADATA_LABELS,
    METADATA_PREPROCESS as METADATA_PREPROCESS,
    OPSET as OPSET,
    described as described,
)
from .shapes import CLASSES as CLASSES, draw as draw
