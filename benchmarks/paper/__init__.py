"""What the paper shows, reproduced with the teachers and students of any run.

One function for each part. Short trainings are started from here, but how to train is `training`'s
business; what is asked, drawings or photographs, is `quality`'s.
"""
