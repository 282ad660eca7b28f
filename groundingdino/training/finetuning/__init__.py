"""A trained detector learns the names of somebody's own pictures, by the detector's training.

pictures    a data set -> what to learn from, what is held out
knowledge   what the model finds of common names before it learns: what it must not forget, and what is absent
tuning      which parameters move how fast; adapters; the steps
outcome     figures before and after, and the result's README.md
"""
