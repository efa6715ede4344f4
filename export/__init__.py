"""A checkpoint -> ONNX -> a verified bundle: `python -m export CHECKPOINT OUT`."""
