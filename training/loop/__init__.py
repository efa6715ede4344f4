"""The one training loop: optimizer, validation, log and run folder.

It knows a task and its settings, and no model, teacher or data set.
"""
