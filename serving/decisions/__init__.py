"""Decisions for callers: over live states, consent and the ledger."""
