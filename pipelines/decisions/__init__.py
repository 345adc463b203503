"""Decisions: pure values and functions, and the ledger that keeps what was decided."""
