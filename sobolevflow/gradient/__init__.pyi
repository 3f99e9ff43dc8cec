"""What the room offers to others, each name declared once."""

from .check import check_gradient as check_gradient
from .engine import Engine as Engine
from .file_signature import signature as signature
from .function import value_and_grad as value_and_grad
from .model import gradient_graph as gradient_graph, gradient_model as gradient_model
from .trial import examine as examine
