"""What the room offers to others, each name declared once."""

from .channel_axis import feature_maps as feature_maps
from .composition import compose as compose, pictures as pictures
from .constant_inputs import Image as Image
from .exporting import export as export
from .forward import differentiable_at as differentiable_at
from .image_input import say_far_outside as say_far_outside
from .layers import LayerInfo as LayerInfo
from .loading import load as load
from .network import Network as Network
from .preprocess import Preprocess as Preprocess
