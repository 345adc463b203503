"""The audit of features: what was served, and the states that are stored, against what the log of events says."""

from pipelines.feature_audit.states import StateAudit, audit_states
from pipelines.feature_audit.vectors import VectorAudit, audit_vectors

__all__ = ["StateAudit", "VectorAudit", "audit_states", "audit_vectors"]
