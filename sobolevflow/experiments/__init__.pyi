"""What the room offers to others, each name declared once."""

from .benchmark import (
    ALL_SHAPES as ALL_SHAPES,
    benchmark_filters as benchmark_filters,
    benchmark_gradient as benchmark_gradient,
    benchmark_tv as benchmark_tv,
)
from .demo import run_demo as run_demo
from .folder import Folder as Folder
from .index import EXPERIMENTS as EXPERIMENTS
from .layer_names import find_layer as find_layer
from .published import PUBLISHED as PUBLISHED
from .work import Subject as Subject, Work as Work
