"""Converts torch programs to Core ML packages (MIL), and interprets the packages to check them.

Everything that needs coremltools is here. `precision` decides which operations stay in fp32.
"""
