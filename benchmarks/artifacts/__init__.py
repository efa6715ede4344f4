"""What a checkpoint becomes for each runtime: sizes, build times, and how close to eager torch.

The bundles are exported anew by `export` and measured by its gates; nothing is judged here.
"""
