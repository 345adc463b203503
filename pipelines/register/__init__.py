"""Registered models: manifest, gates, aliases, and the way into the service's model store."""

from pipelines.register.export import export_champion
from pipelines.register.gates import Gate, check_gates
from pipelines.register.registration import Registration, register

__all__ = ["Gate", "Registration", "check_gates", "export_champion", "register"]
