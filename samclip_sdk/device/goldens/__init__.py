"""What must come out: the goldens of a bundle, and how an answer is compared with them.

Schemas and comparisons, up to single graphs that the engine runs. What asks a whole model, as a
user would, lives in `verify`.
"""
