"""The stages: each module has the settings of one kind of stage, its check and its run.

What several stages share is in `training.stage`.
"""
