"""Runtimes: one file (or few) for each, behind the Protocol of `session`.

They run graphs, and know nothing of pictures, prompts or texts. None is imported before it is
asked for: see `opening`.
"""
