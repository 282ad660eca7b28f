"""What the embedded inpainter's edits are worth."""
