"""Pixels and geometry in pure numpy: images, frames, prompts, masks."""
