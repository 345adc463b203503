"""Whose events are whose: identifiers, the links between them, and what customers consented to."""
