"""The paper's figures and its table, on any networks and photographs, and what lies beyond them.

`index`         the experiments by name, and what the command line needs to know of each
`figure1`       classes of a network by every scheme and filter
`figure2`       a class by several networks, with octaves and crops and without
`figure4`       photographs inverted from several layers with several regularisers
`table1`        reconstructions from one network's features, recognised by another
`matched`       Gaussian against Sobolev at equal strength
`sweep`         a grid of gamma and tau
`experiment`    what an experiment is, and the one runner of all
`work`          networks, folder and parameters of a run
`recipes`       everything that determines a descent but the network, as data
`published`     the settings of the paper
`descents`      many descents, batch by batch
`cells`         results that are computed once and found again
`folder`        pictures, tables and manifest
`photographs`   photographs and their classes
`layer_names`   the layers that the paper names, in a network's file
`judging`       what other networks and statistics say of pictures
`demo`          the demonstration on a bundled network
`benchmark`     how fast filters, total variation and gradients are here

`EXPERIMENTS` has an `Experiment` for each name: `about`, for its help text; `needs` and `takes`, the options
that must and may be given; `asked(**options)`, from those that were given to subject and keywords; and
`run(subjects, subject, work, **keywords)`, which returns the rows of its table. Nothing is imported for it
before `asked` or `run` is called:

    experiment = EXPERIMENTS["table1"]
    of, more = experiment.asked(photos="photos/", count=40, tune=16)
    rows = experiment.run([Subject(net, layers), ...], of, Work(Folder("out"), steps=300), **more)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
