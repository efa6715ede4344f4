"""Real data sets on the disk: shards, SA-1B, photographs in COCO's layout, cached embeddings.

Reading and batching only: what is learned from them is decided in `tasks`.
"""
