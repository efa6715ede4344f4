"""How fast, and how much memory: one harness for the SDK and for its peers.

Here live the subjects that are timed, each in a process of its own, and the description of the
machine and of its limits; the bars that the project set itself are in the templates. A subject may
import what it likes, but only in its own process; nothing here decides whether an answer is right.
"""
