"""What is trained, on what, against what: tasks that own student, teachers and losses.

Losses are pure modules. Batches come from `batches`, `composed` and `real`; the loop from `loop`.
"""
