"""Precisions below fp32: the operations that may compute in fp16, and int8 with measured ranges.

Plans and rewrites of programs and graphs are here, the same for every converter. `onnx_artifacts`
and `coreml` write the files.
"""
