"""Folders of pictures to annotations, resumable: which pictures, their log, and the COCO file.

It uses `SamClip` alone and prints nothing; what a terminal shows is the command line's.
"""
