"""Arrays in, pictures out; no torch."""
