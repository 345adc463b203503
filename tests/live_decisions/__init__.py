"""What must hold of live decisions, shown at full size: `python -m tests.live_decisions`. Fast tests run it small."""
