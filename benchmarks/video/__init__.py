"""How well and how fast objects are followed through a video whose truth is known.

Here lives the made video and what is measured of it; what follows objects lives in the SDK.
"""
