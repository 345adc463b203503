"""Benches of the feature platform, each beside stock Feast (or hand-written SQL) in the same run."""
