"""From a grey picture to one that an objective likes, step by step: equation (18) in a loop.

`descent`          `visualize` and `invert`
`declaration`      their parameters, each declared once
`declaring`        how a parameter is declared, and what the command line is told of it
`signature`        what `visualize` and `invert` show of themselves: signature and help
`settings`         the parameters of a descent, checked
`defaults`         what they are where nobody says otherwise
`trials`           how smooth updates may be for a unit, by a few steps with each of some gammas
`start`            grey, with noise that is white or natural
`plan`             octaves and stages: sizes of the canvas, one after the other
`loop`             the steps, one after the other
`step`             what a step does to the images: the same on the host and on a GPU
`execution`        how a step is carried out: called on the host, queued and replayed on a GPU
`cost`             how much memory a descent is certain to hold
`budget`           when a descent ends before its last step
`log`              what is written down: measurements, pictures on the way, the result
`divergence`       descents that go astray, with what to change
`numbers`          the images of a batch by their numbers
`revival`          images without a gradient: started anew, or given up
`rescue`           what had been reached when a descent failed
`gradient_scale`   gradients divided by their mean size
`parametrization`  other coordinates than pixels
`several`          a batch shared by several devices, a process each
`provenance`       what a run is made of, beside what its manifest tells
`rerun`            a run made again, from its manifest
`autosave`         the picture so far, every ten seconds
`progress`         how a descent is watched: progress bar and callback
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
