"""Who may call the service: keys, kept as hashes."""

from pipelines.access.keys import AccessKey, Keys

__all__ = ["AccessKey", "Keys"]
