"""The graphs, and what is done with them: each skill is one module."""
