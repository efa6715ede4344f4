"""The command `samclip`: one module a group of verbs.

Options, progress and messages live here; whatever a program may also want to call lives in the
rooms below.
"""
