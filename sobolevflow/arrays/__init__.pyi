"""What the room offers to others, each name declared once."""

from .borrowing import (
    borrow as borrow,
    borrow_numbers as borrow_numbers,
    borrow_output as borrow_output,
    fingerprint as fingerprint,
    finish_output as finish_output,
    hand_back as hand_back,
    is_cupy_array as is_cupy_array,
    lend as lend,
    lending as lending,
    library as library,
    on_stream_of as on_stream_of,
    restore as restore,
    shape_of as shape_of,
)
from .places import (
    Underway as Underway,
    aligned as aligned,
    beside as beside,
    constant_beside as constant_beside,
    copied_to_device as copied_to_device,
    empty_laid_out_as as empty_laid_out_as,
    empty_like as empty_like,
    may_overlap as may_overlap,
    namespace as namespace,
    to_host as to_host,
)
from .planes import (
    NOT_GIVEN as NOT_GIVEN,
    Batch as Batch,
    ChannelsFirst as ChannelsFirst,
    as_stack as as_stack,
    check_finite as check_finite,
    check_shape as check_shape,
    checked_axis as checked_axis,
    planes_of as planes_of,
    put as put,
)
from .types import FLOAT_DTYPES as FLOAT_DTYPES, AnyArray as AnyArray, Array as Array
