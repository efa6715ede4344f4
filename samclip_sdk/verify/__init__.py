"""Whole tasks through `SamClip`, held against eager torch on this device; and signing off.

The comparisons themselves are those of `goldens`.
"""
