"""What answers are worth: one evaluator for each kind of metric, for every suite.

Here lives arithmetic alone: scores, masks and names go in, figures come out. What is asked, and of
whom, is the suites' business. A figure of images has an interval over resamples of them.
"""
