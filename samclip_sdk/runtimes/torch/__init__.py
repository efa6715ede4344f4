"""The model in torch, from a checkpoint."""
