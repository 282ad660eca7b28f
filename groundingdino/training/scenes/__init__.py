"""Pictures to learn from that are drawn: what is in them is known to the pixel."""
