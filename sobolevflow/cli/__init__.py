"""The ``sobolevflow`` command: parse, call, print; no logic.

`main`            the list of commands, exit codes, interrupts
`options`         the table of a command: what argparse makes of it, what belongs together, what is forwarded
`types`           what a word is read as
`given`           from what was given to a network, an objective, photographs, devices
`operators`       the filters that name themselves, as options, and back
`start`           what a descent starts from, and where the picture may change
`scheme`          which of K_f, K_e
`printing`        tables, notes, errors
`voice`           what others say on the standard error, as notes
`streams`         what a terminal or a pipe cannot print, or does not take
`picture_filter`  pictures in and filtered pictures out
`heatmap_files`   where the maps of photographs go

and a file for each command: `demo`, `inspect`, `descend` (visualize, invert), `gradient`, `classify`,
`attribute`, `filter`, `experiment`, `rerun`, `bench`, `doctor`.
"""

from .main import main
from .options import Argument, Command, Given, Group, command

__all__ = ["Argument", "Command", "Given", "Group", "command", "main"]
