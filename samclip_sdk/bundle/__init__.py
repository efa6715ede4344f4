"""The artifact that ships: its schema, its contract, how it is opened and checked.

What a bundle says of itself lives here, and how its files are found and verified. Nothing here runs
a graph: that is a runtime's work.
"""
