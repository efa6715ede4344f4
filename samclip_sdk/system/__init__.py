"""Basics below every room: atomic files, clocks, hardware, packages, records, arguments."""
