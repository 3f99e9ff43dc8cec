"""Models in files, and their weights apart from them.

========== =================================================================================
`door`     regular files alone, asked about before they are opened
`reading`  a model from a path, bytes or a proto, with errors that say what is wrong
`checking` a model checked once, when it is opened
`weights`  large weights apart from the model: stubs, and files of external data
`writing`  a model into a file, large weights beside it
`wire`     large weights read straight from a file, without parsing them as a message
========== =================================================================================
"""
