"""The public names of sobolevflow, each declared once; `__init__.py` loads them on first use."""

from . import (
    attribution as attribution,
    errors as errors,
    filters as filters,
    kernels as kernels,
    metrics as metrics,
    models as models,
    objectives as objectives,
    onnxgrad as onnxgrad,
    optimizers as optimizers,
    proximal as proximal,
    schemes as schemes,
    total_variation as total_variation,
    transforms as transforms,
)
from ._version import __version__ as __version__
from .descent import (
    Fourier as Fourier,
    Octave as Octave,
    Phase as Phase,
    invert as invert,
    rerun as rerun,
    visualize as visualize,
)
from .devices import Device as Device
from .errors import SobolevflowError as SobolevflowError
from .gradient import (
    check_gradient as check_gradient,
    gradient_model as gradient_model,
    value_and_grad as value_and_grad,
)
from .maps import (
    Bilateral as Bilateral,
    Multiscale as Multiscale,
    NaturalColour as NaturalColour,
    PeronaMalik as PeronaMalik,
)
from .network import (
    Image as Image,
    LayerInfo as LayerInfo,
    Network as Network,
    Prediction as Prediction,
    Preprocess as Preprocess,
    compose as compose,
    export as export,
    load as load,
    receptive_field as receptive_field,
)
from .objectives import (
    Caricature as Caricature,
    Channel as Channel,
    Class as Class,
    Cosine as Cosine,
    Detection as Detection,
    Direction as Direction,
    Diversity as Diversity,
    Inversion as Inversion,
    Layer as Layer,
    Neuron as Neuron,
    Reconstruction as Reconstruction,
    Region as Region,
)
from .onnxgrad import Limits as Limits
from .pictures import heatmap as heatmap, read_image as read_image, to_original as to_original
from .results import Result as Result
from .schemes import (
    elastic as elastic,
    fluid as fluid,
    fluid_elastic as fluid_elastic,
    gradient_descent as gradient_descent,
    proximal_tv as proximal_tv,
)
