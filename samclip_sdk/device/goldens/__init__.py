"""The goldens of a bundle, which are the expected outputs, and the comparison with them.

Schemas and comparisons are here, up to single graphs that the engine runs. The checks that run a
whole model, as a user would, are in `device/golden_checks.py`.
"""
