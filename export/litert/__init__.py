"""Converts graphs to LiteRT files, and stores their weights in fp16 or their layers in int8.

Everything that needs litert-torch and ai-edge-quantizer is here.
"""
