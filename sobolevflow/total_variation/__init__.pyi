"""What the room offers to others, each name declared once."""

from . import differences as differences
from .arguments import check_kind as check_kind
from .ball import Constrained as Constrained, constrained as constrained
from .functional import gradient as gradient, value as value
from .generalised import prox_tgv as prox_tgv
from .model import Variation as Variation
from .reference import duality_gap as duality_gap
from .rof import Method as Method, prox as prox
from .solution import Prox as Prox, State as State
