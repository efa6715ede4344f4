"""Runtimes: a folder for each, behind the Protocol of `session`; `known` is the table of them.

They run graphs. What a graph's tensors mean the contract alone knows. No runtime is imported before
it is asked for: see `opening`.
"""
