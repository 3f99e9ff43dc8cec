"""What the room offers to others, each name declared once."""

from .bundled import BUILTIN as BUILTIN, builtin_or_path as builtin_or_path, path as path
from .onnx_file import METADATA_LABELS as METADATA_LABELS, METADATA_PREPROCESS as METADATA_PREPROCESS
from .shapes import CLASSES as CLASSES, draw as draw
