"""Everything that is measured: how well a model answers, and how fast; `python -m benchmarks`.

A room for each subject. A room holds what measures, the record of it, and the tables made from that
record; `record` and `report` hold what all of them share. Nothing here is in the wheel, and nothing
of the SDK may import it. A number is shown only if a command of these rooms measured it.
"""
