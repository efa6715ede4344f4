"""Videos and cameras: sources of frames, motion between frames, and tracking of objects.

COCO video JSON and video files are written here too. This room is below the client. It runs graphs
only through the engine, and never holds more frames than are read ahead.
"""

from samclip_sdk.engine.video.coco_video import CocoVideoWriter
from samclip_sdk.engine.video.film_writer import FilmWriter
from samclip_sdk.engine.video.footage import Footage
from samclip_sdk.engine.video.sources import open_footage

__all__ = [
    "CocoVideoWriter",
    "FilmWriter",
    "Footage",
    "open_footage",
]
