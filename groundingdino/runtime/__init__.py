"""What all computing shares: threads, memory, caches, devices, and giving up what nobody waits for."""
