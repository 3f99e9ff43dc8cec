"""What the room offers to others, each name declared once."""

from .channel_axis import feature_maps as feature_maps
from .composition import compose as compose, pictures as pictures
from .layers import LayerInfo as LayerInfo
from .network import Network as Network, load as load, uncast as uncast
from .preprocess import Preprocess as Preprocess
