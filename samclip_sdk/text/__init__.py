"""From texts to embeddings: tokens, the text encoder in batches, what is kept, vocabulary packs.

No picture is known here; which labels a picture shows is decided in `text_to_mask`.
"""
