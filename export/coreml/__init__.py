"""Core ML packages: a program of torch to MIL, and an interpreter that reads them back.

Everything that needs coremltools. Which operations stay in fp32 is decided in `precision`.
"""
