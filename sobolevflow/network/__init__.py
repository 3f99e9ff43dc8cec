"""A network that can be looked into: from an ONNX file to its layers, classes and features.

`loading`          what opens a model as a network
`network`          the network itself
`classes`          its classes: where their scores are, and what they are called
`advice`           what to tell the user of it
`forward`          the graph that an objective is put behind
`image_input`      which input is the image, and the pre-processing in front of it
`constant_inputs`  its other inputs: arrays, and pictures that are pre-processed
`real_numbers`     an integer image input that takes real numbers
`preprocess`       how a network wants its images
`layers`           its layers, and which of them operators without a rule cut off
`gradients`        which of them have a gradient, each operator as it is used
`labels`           the names of its classes
`layout`           what the axes of a layer mean
`following`        that, followed through the operators
`channel_axis`     which layers are feature maps, and where those keep their channels
`stripping`        the softmax or sigmoid at its end, and what follows that
`saturation`       which layers are probabilities, and of what
`composition`      a generator and a network behind it, as one
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
