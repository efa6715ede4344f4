"""Other models, each run by its own package, to compare with.

A module of this room may import neither the SDK nor another peer's packages: import times and peak
memory are the peer's own. The packages are optional; a peer without its package says which to
install.
"""
