"""Follow what a prompt names through a video: frames in, objects with lasting ids out, one after the other.

video -> tracker (looks by a detector, motion between) -> track_file -> exports, drawing, edits
"""
