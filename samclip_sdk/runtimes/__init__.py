"""Runtimes: a folder for each, behind the Protocol of `session`; `table` lists them.

They run graphs. Only the contract defines the meaning of a graph's tensors. A runtime is imported
only when it is used: see `opening`.
"""
