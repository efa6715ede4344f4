"""The command `samclip`: one module for each group of verbs.

Options, progress and messages live here. Functions that a program may call too live in the rooms
below.
"""
