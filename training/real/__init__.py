"""Real data sets on the disk: shards, SA-1B, ImageNet-style folders, crops and cached embeddings.

Reading and batching only: what is learned from them is decided in `tasks`.
"""
