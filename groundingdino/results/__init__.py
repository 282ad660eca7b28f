"""What was found, as others take it: drawn on the picture, as files, as JSON."""
