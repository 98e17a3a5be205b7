"""Every file of metrics as a typed struct, the unit in each field's name.

metrics/k/*.json are functions of the inputs, data/k/stop.json decides whether the loop goes on,
.lion/runs/*.json tell what happened. Nothing outside this package reads a key of these files.
"""
