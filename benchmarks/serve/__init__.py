"""How fast `samclip serve` is beside the SDK in process: `python -m benchmarks serve`."""
