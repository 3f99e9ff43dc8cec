"""What the room offers to others, each name declared once."""

from .cuda import DeviceView as DeviceView
from .linear import Chain as Chain, LinearMap as LinearMap, Roll as Roll, Size as Size, Window as Window
from .resize import Resize as Resize, interpolation as interpolation
from .views import Crop as Crop, Distribution as Distribution, Jitter as Jitter, RandomView as RandomView
from .warp import Turn as Turn, Warp as Warp
