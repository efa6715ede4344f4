"""How well a model answers on photographs that nothing was trained or calibrated on.

Here live the questions that the split "val" of sets of photographs is asked (masks of texts, boxes
and points, names, presence), their figures with bootstrap intervals, and the pictures that show
them. Drawings are in `quality`, public data sets in their own protocols in `public`.
"""
