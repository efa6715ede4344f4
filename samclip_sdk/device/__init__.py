"""Checks on this device: verifies outputs, chooses the fastest runtime, measures speed."""
