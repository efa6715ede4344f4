"""Is it right here, what is fastest here, and how fast is it: verify, choice, bench."""
