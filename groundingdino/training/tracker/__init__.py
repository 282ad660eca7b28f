"""How well things are followed through videos: measured on drawings that move, whose truth is known."""
