"""How fast a model is on this device: what is timed, and how.

Repeated runs and percentiles come from `timing`. Peers and published measurements are the
repository's `benchmarks`, not the wheel's.
"""
