"""Which runtime and precision run a bundle fastest on this device, and opening a model so.

Candidates are tried on an engine, the choice is remembered. Nothing here knows `SamClip`: the
client stands above and asks for a source of graphs.
"""
