"""How well a model answers on drawings that no training saw, through the public API.

Here live the drawings, the three skills' figures on them (ranking of nouns, masks of prompts, masks
of texts), and what they are compared with: the model's teachers, and a floor that needs no
learning. The figures themselves (IoU, rank, confusion) are computed here for the other rooms too.
Public data sets are not for this room: see `public`.
"""
