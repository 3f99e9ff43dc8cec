"""What the room offers to others, each name declared once."""

from .base import (
    Combination as Combination,
    Leaf as Leaf,
    Objective as Objective,
    emit_objective as emit_objective,
    maximize as maximize,
    minimize as minimize,
    natural_batch as natural_batch,
    runtime_parameters as runtime_parameters,
    structure as structure,
)
from .caricature import Caricature as Caricature
from .diversity import Diversity as Diversity
from .inversion import Inversion as Inversion, target_features as target_features
from .units import (
    Channel as Channel,
    Class as Class,
    Direction as Direction,
    Index as Index,
    Layer as Layer,
    Neuron as Neuron,
)
