"""Tasks: each owns a student, its teachers, its data and its losses.

Losses are pure modules. Batches come from `batches`, `composed` and `real`; the loop from `loop`.
"""
