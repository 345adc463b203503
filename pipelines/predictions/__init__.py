"""Served predictions afterwards: found again, made again to the last bit, and held against what happened."""
