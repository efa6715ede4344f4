"""Merging SAM and CLIP into one model by multi-task distillation (paper section 3.2)."""
