"""Less than fp32: which operations may compute in fp16, and int8 with measured ranges.

Plans and rewrites of programs and graphs, the same for every converter. Writing files is the work
of `onnx_artifacts` and `coreml`.
"""
