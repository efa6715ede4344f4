"""Converts graphs to ExecuTorch programs for XNNPACK, in fp32 or with layers in int8.

Everything that needs executorch's converter is here.
"""
