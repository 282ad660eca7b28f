"""`python -m groundingdino detect IMAGE PROMPT`, `segment`, `inpaint` and `models`."""
