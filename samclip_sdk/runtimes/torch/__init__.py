"""The model in eager torch, from a checkpoint."""
