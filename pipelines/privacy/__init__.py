"""What names a person is encrypted wherever it is kept, and looked up by a keyed hash."""

from pipelines.privacy.personal import EXTERNAL_IDS, carries_personal, change_personal, open_event, seal_event
from pipelines.privacy.sealing import (
    ENVIRONMENT_KEY,
    MARK,
    WHOLE_ROW,
    EncryptionKeyMissing,
    Sealer,
    is_sealed,
    make_demo_key,
    new_key,
    sealer_of,
)

__all__ = [
    "ENVIRONMENT_KEY",
    "EXTERNAL_IDS",
    "MARK",
    "WHOLE_ROW",
    "EncryptionKeyMissing",
    "Sealer",
    "carries_personal",
    "change_personal",
    "is_sealed",
    "make_demo_key",
    "new_key",
    "open_event",
    "seal_event",
    "sealer_of",
]
