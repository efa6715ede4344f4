"""TensorRT: engines are built on the device."""
