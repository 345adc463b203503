"""Ten minutes under load: no error, no growth, and how long callers wait."""
