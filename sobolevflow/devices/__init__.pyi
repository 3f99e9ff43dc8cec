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
from .installation import FOR_CUDA as FOR_CUDA, GENERAL as GENERAL, Finding as Finding, findings as findings
from .memory import Host as Host, Later as Later, Memory as Memory, memory_of as memory_of
from .replay import Replay as Replay
from .sessions import Computation as Computation, Opened as Opened, Sessions as Sessions, open_on as open_on
