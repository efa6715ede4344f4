"""What the paper shows, reproduced with the repository's small teachers and its small student.

One module for each part, which says what it needs of a training run, and the paper's own numbers to
stand beside. Short trainings are started from here, but how to train is `training`'s business.
"""
