"""What can be drawn: everyday names, and drawings of them in several styles.

names.tsv, assets/artwork
    names.py        what can be drawn and what people call it
    reading.py      what a text asks to be drawn
    drawings.py     the drawings, in several styles
    sprites.py      one drawing: coloured, turned
"""
