"""What the room offers to others, each name declared once."""

from .device import (
    CPU as CPU,
    CUDA as CUDA,
    TENSORRT as TENSORRT,
    Device as Device,
    Precision as Precision,
    devices_of as devices_of,
)
from .failures import explained as explained, is_of_device as is_of_device
from .installation import (
    FOR_CUDA as FOR_CUDA,
    GENERAL as GENERAL,
    Finding as Finding,
    driver_version as driver_version,
    findings as findings,
)
from .kept import (
    LEAST_BYTES as LEAST_BYTES,
    Computation as Computation,
    Opened as Opened,
    Sessions as Sessions,
    turn_on as turn_on,
)
from .memory import Host as Host, Later as Later, Memory as Memory, memory_of as memory_of
from .replay import Replay as Replay
from .sessions import open_on as open_on
