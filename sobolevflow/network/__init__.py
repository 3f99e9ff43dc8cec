"""A network that can be looked into: from an ONNX file to its layers, classes and features.

`loading`          what opens a model as a network
`isolation`        a look at a model by another process first, which may die
`isolated`         that process
`exporting`        a module of PyTorch or Keras in memory as such a file
`network`          the network itself
`protocol`         what those behind it here ask of it
`classes`          its outputs and classes: where scores are, and what the classes are called
`advice`           what to tell the user of it
`forward`          the graph that an objective is put behind
`running`          the values of layers
`prediction`       what it says of photographs
`presets`          that under each usual pre-processing, where none is known
`image_input`      which input is the image, and the pre-processing in front of it
`constant_inputs`  its other inputs: arrays, and pictures that are pre-processed
`real_numbers`     an integer image input that takes real numbers
`preprocess`       how a network wants its images
`preprocess_files` that, in the words of other libraries
`layers`           what its layers are, and which of them operators without a rule cut off
`gradients`        the table of them, and which have a gradient, each operator as it is used
`naming`           how a layer may be written in short
`labels`           the names of its classes
`label_formats`    those in the formats that people have them in
`text_files`       text in any encoding, and the data in it
`layout`           what the axes of a layer mean
`following`        that, followed through the operators
`places`           where the layers keep the images of a batch, and how they look with these first
`batches`          how many images go through together, and whether they stay apart
`path`             what lies on the way from the image to some layers, and what beside it
`positions`        which layers have places in the image, and which says most of where something comes from
`reach`            what part of the image an entry of a layer sees
`stripping`        the softmax or sigmoid at its end, and what follows that
`saturation`       which layers are probabilities, and of what
`composition`      a generator and a network behind it, as one
`source`           where a network comes from
`reopening`        that, opened again
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
