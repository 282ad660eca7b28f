"""Boxes, points and strokes become masks, by Segment Anything or by the embedded segmenter."""
