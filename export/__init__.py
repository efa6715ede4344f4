"""Exports a checkpoint to a verified bundle: `python -m export CHECKPOINT OUT`."""
