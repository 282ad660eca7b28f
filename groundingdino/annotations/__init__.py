"""Labelled pictures as people keep them, read and corrected.

document      what all formats have in common: pictures, each with marked objects
coco, odvg, yolo, voc, cvat, label_studio
              a format each: how its file is read, and how a correction is written into it
opening       a file or folder -> a document, told apart by what is in it
pictures      where the pictures of a document are
review        decisions on a document, each on the disk at once, counted and taken back
"""
