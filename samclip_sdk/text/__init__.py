"""Texts: tokens, stored embeddings of labels, learned labels, vocabulary packs.

Nothing here knows an image, and nothing runs a graph.
"""

from samclip_sdk.text.vocabulary import Vocabulary, read_vocabulary

__all__ = [
    "Vocabulary",
    "read_vocabulary",
]
