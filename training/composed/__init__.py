"""Scenes composed from cut-outs: pictures whose masks, boxes and names are exact by construction.

Drawing only: files of real data sets are read in `real`.
"""
