"""What the room offers to others, each name declared once."""

from .inputs import check_regular as check_regular, opened as opened
from .numpy_files import arrays_in as arrays_in
from .outputs import (
    check_apart as check_apart,
    check_output as check_output,
    destination as destination,
    is_folder as is_folder,
    keep as keep,
    keeping as keeping,
    make_folder as make_folder,
    write_bytes as write_bytes,
)
