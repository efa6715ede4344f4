"""Texts: tokens, stored embeddings of labels, learned labels, vocabulary packs.

Nothing here knows a picture, and nothing runs a graph.
"""
