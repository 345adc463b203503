"""What must hold of served predictions, at full size: `python -m tests.live_predictions`. A test runs it small."""
