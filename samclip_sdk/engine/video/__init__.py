"""Videos and cameras: where frames come from, what moves between them, and which object is which.

Results of frames go out to COCO video JSON and to films from here too. A room below the client; it
runs graphs through the engine only, and never holds more frames than are read ahead.
"""

from samclip_sdk.engine.video.coco_video import CocoVideoWriter
from samclip_sdk.engine.video.film_writer import FilmWriter
from samclip_sdk.engine.video.sources import Footage, open_footage

__all__ = [
    "CocoVideoWriter",
    "FilmWriter",
    "Footage",
    "open_footage",
]
