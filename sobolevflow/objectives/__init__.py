"""What to maximise or to match, as values that can be added and scaled.

`base`            what an objective is, and its algebra
`emitter`         what appends the nodes of an elementary one
`assembly`        all of them behind a network, with their runtime inputs
`channels`        on which axis of a layer its channels are
`spelling`        how it is written on the command line
`serialisation`   how it is written into a manifest, and made from that
`boxes`           boxes in an image
`places`          masks and boxes as weights over the positions of a layer
`heads`           what the outputs of a detector mean
`units`           a class, a channel, a neuron, a direction, a whole layer
`region`          a channel in a part of the image
`detection`       the score of a class in a detector's box
`inversion`       the features of a photograph
`caricature`      what a layer sees in a photograph, exaggerated
`cosine`          the cosine of an embedding with another
`diversity`       the images of a batch, different from one another
`reconstruction`  the error of an autoencoder
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
