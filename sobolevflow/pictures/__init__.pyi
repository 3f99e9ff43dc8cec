"""What the room offers to others, each name declared once."""

from .colour_maps import colour_map as colour_map
from .contact_sheets import contact_sheet as contact_sheet
from .fitting import fitted as fitted, resized as resized, to_original as to_original
from .heatmaps import heatmap as heatmap
from .pixels import (
    BITS as BITS,
    Levels as Levels,
    Pixels as Pixels,
    arranged as arranged,
    tiled as tiled,
    to_levels as to_levels,
    to_uint8 as to_uint8,
    viewable as viewable,
)
from .reading import (
    Planes as Planes,
    read_image as read_image,
    read_planes as read_planes,
)
from .writing import (
    HOLD_16_BITS as HOLD_16_BITS,
    HOLD_ANY_PLANES as HOLD_ANY_PLANES,
    WRITABLE as WRITABLE,
    check_bits as check_bits,
    check_writable as check_writable,
    checked_bits as checked_bits,
    encode as encode,
    write_arranged as write_arranged,
    write_array as write_array,
    write_image as write_image,
    write_planes as write_planes,
)
