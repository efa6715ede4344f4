"""Scenes composed from cut-outs: images whose masks, boxes and names are exact by construction.

The corpus of drawings, what is made of it, and batches of that. No file of a real data set is read
here: `real` does that.
"""
