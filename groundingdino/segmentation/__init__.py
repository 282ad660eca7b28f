"""Boxes, points and strokes become masks, by models of the Segment Anything family or the embedded segmenter."""
