"""What a model and its commands hold against: many threads, many calls, kills, long runs.

Here live the campaigns and what is recorded of them. Small editions run in the tests.
"""
