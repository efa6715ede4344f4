"""How well a model answers on images that no training saw, through the public API.

These are drawings, the split "val" of sets of photographs, and whole sets that are held out: one
`Dataset` each. All are asked the same (names, prompts, texts, presence), and beside the model stand
its teachers, two models in a row, and a floor that needs no learning. Public data sets in their own
protocols are in `public`, the arithmetic in `metrics`.
"""
