"""What names a person is encrypted wherever it is kept, and looked up by a keyed hash."""

from pipelines.privacy.personal import carries_personal, open_event, seal_event
from pipelines.privacy.sealing import ENVIRONMENT_KEY, EncryptionKeyMissing, Sealer, is_sealed, new_key, sealer_of

__all__ = [
    "ENVIRONMENT_KEY",
    "EncryptionKeyMissing",
    "Sealer",
    "carries_personal",
    "is_sealed",
    "new_key",
    "open_event",
    "seal_event",
    "sealer_of",
]
