"""What all computing shares: memory, caches, devices, and giving up what nobody waits for."""
