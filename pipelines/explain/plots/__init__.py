"""The report's figures: images that stand in the page itself, each with a text for readers who cannot see it."""
