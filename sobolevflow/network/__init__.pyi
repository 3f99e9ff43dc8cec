"""What the room offers to others, each name declared once."""

from .composition import compose as compose, pictures as pictures
from .constant_inputs import Image as Image
from .exporting import MODELS as MODELS, export as export
from .forward import differentiable_at as differentiable_at
from .layers import LayerInfo as LayerInfo
from .loading import load as load
from .naming import is_pattern as is_pattern, shortest as shortest
from .network import Network as Network
from .path import gradient_path as gradient_path
from .places import untold as untold
from .positions import (
    Positions as Positions,
    last_with_positions as last_with_positions,
    positions as positions,
)
from .prediction import Prediction as Prediction
from .preprocess import Preprocess as Preprocess
from .reach import (
    ReceptiveField as ReceptiveField,
    receptive_field as receptive_field,
)
from .reopening import found as found, reopened as reopened
from .source import Source as Source, check_same as check_same
