"""What holds for all tests: a key for personal data, the same in every process that a test starts."""

from __future__ import annotations

import os

from pipelines.privacy import ENVIRONMENT_KEY

os.environ[ENVIRONMENT_KEY] = "dGVzdHMgb25seTogbm9ib2R5J3MgcmVhbCBrZXkuLi4="
