"""Many pictures to annotations, resumable: their sources, their log, workers, the COCO file.

It uses `SamClip` alone and prints nothing; what a terminal shows is the command line's.
"""
