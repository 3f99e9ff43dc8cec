"""What the room offers to others, each name declared once."""

from .assembly import (
    emit_objective as emit_objective,
    runtime_parameters as runtime_parameters,
    structure as structure,
)
from .base import (
    ARRAY as ARRAY,
    Combination as Combination,
    Leaf as Leaf,
    Objective as Objective,
    check_asked as check_asked,
    maximize as maximize,
    minimize as minimize,
    natural_batch as natural_batch,
)
from .caricature import Caricature as Caricature
from .cosine import Cosine as Cosine
from .detection import Detection as Detection
from .diversity import Diversity as Diversity
from .emitter import Emitter as Emitter, chooses as chooses
from .inversion import Inversion as Inversion, target_features as target_features
from .reconstruction import Reconstruction as Reconstruction
from .region import Region as Region
from .serialisation import arrays_of as arrays_of, from_dict as from_dict
from .spelling import (
    Images as Images,
    holds_array as holds_array,
    of_one_layer as of_one_layer,
    read_vector as read_vector,
    read_weights as read_weights,
    spelled as spelled,
    unit as unit,
)
from .units import (
    Channel as Channel,
    Class as Class,
    Direction as Direction,
    Index as Index,
    Layer as Layer,
    Neuron as Neuron,
)
