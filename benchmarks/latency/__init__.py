"""Latency and memory: one harness, one schema, every subject in a process of its own."""
