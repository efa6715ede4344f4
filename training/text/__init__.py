"""Words: WordNet, the sentence encoder, names of ImageNet's classes, and texts to learn from.

Nothing here knows of images, or of a stage; teachers and tasks are made of it.
"""
