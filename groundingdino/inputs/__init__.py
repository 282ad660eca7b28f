"""What callers give: pictures, prompts and numbers, checked and read without torch."""
