"""The frozen models that a student imitates: small ones trained here, and pretrained ones.

Each answers behind one of two interfaces, SAM's or CLIP's, and preprocesses its own way.
"""
