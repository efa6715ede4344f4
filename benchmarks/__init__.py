"""Everything that is measured: how well a model answers, and how fast; `python -m benchmarks`.

A room for each subject holds what measures. All give their figures to one long table (`table`), by
what `suite` has in common for them; `templates` are what pages make of the figures. Nothing here is
in the wheel, and nothing of the SDK may import it. A number is shown only if a command of these
rooms measured it.
"""
