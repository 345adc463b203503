"""Registered models: manifest, gates, aliases and who moved them, and the way into the service's model store."""

from pipelines.gate import Gate
from pipelines.register.candidate import TUNED
from pipelines.register.challenge import Challenge, challenge
from pipelines.register.export import export_challenger, export_champion
from pipelines.register.gates import Evidence, check_gates
from pipelines.register.promotion import History, Promotion, history, promote, rollback
from pipelines.register.registration import register
from pipelines.registry import Registration

__all__ = [
    "TUNED", "Challenge", "Evidence", "Gate", "History", "Promotion", "Registration", "challenge", "check_gates",
    "export_challenger", "export_champion", "history", "promote", "register", "rollback",
]  # fmt: skip
