"""`python -m groundingdino detect IMAGE PROMPT`, `segment`, `inpaint`, `label` and `models`."""
