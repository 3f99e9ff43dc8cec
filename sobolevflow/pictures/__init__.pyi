"""What the room offers to others, each name declared once."""

from .contact_sheets import contact_sheet as contact_sheet
from .files import (
    WRITABLE as WRITABLE,
    Pixels as Pixels,
    arranged as arranged,
    check_writable as check_writable,
    encode as encode,
    make_folder as make_folder,
    read_image as read_image,
    read_planes as read_planes,
    resized as resized,
    tiled as tiled,
    to_uint8 as to_uint8,
    viewable as viewable,
    write_array as write_array,
    write_bytes as write_bytes,
    write_image as write_image,
    write_planes as write_planes,
)
from .heatmaps import heatmap as heatmap
