"""Who may call the service, for what events may be used, and the log of administrative acts."""

from pipelines.access.audit import AuditDamaged, AuditLog, Entry, operating_user
from pipelines.access.keys import SCOPES, AccessKey, Keys
from pipelines.access.purposes import LEGAL_BASES, source_purposes, statement_problems

__all__ = [
    "LEGAL_BASES",
    "SCOPES",
    "AccessKey",
    "AuditDamaged",
    "AuditLog",
    "Entry",
    "Keys",
    "operating_user",
    "source_purposes",
    "statement_problems",
]
