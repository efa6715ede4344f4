"""What the machine gives: files that are whole or absent, clocks, hardware, packages, arguments."""
