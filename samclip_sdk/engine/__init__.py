"""The graphs and the skills that run them: each skill is one module."""
