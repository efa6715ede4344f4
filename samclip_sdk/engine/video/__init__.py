"""Videos and cameras: where frames come from, what moves between them, and which object is which.

Results of frames go out to COCO video JSON and to films from here too. A room below the client; it
runs graphs through the engine only, and never holds more frames than are read ahead.
"""
