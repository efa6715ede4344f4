"""What the model answers: frozen dataclasses of read-only numpy arrays, their shapes checked.

Each is a sequence too, of one item a row (`items.py`), and carries `speed` (milliseconds by step)
and `picture`, what it was made from. Boxes are XYXY in pixels of the upright image; in JSON, which
follows COCO, `bbox` is [x, y, width, height] and masks are compressed RLE.
"""
