"""The audit of features: what was served, and the states that are stored, against what the log of events says."""

from pipelines.feature_audit.states import StateAudit, audit_states
from pipelines.feature_audit.vectors import (
    UNKNOWN_LIST,
    Difference,
    FeatureComparison,
    VectorAudit,
    audit_vectors,
    compare_features,
    drawn_of,
    same_bits,
)

__all__ = [
    "UNKNOWN_LIST",
    "Difference",
    "FeatureComparison",
    "StateAudit",
    "VectorAudit",
    "audit_states",
    "audit_vectors",
    "compare_features",
    "drawn_of",
    "same_bits",
]
