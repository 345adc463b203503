"""Live ingestion over HTTP: what Segment's clients send, checked and made into events."""
