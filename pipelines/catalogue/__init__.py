"""What can be offered, and under which conditions: the compiled catalogue of actions."""

from pipelines.catalogue.model import (
    NO_ACTION,
    Action,
    Budget,
    Cap,
    Catalogue,
    ChannelAnswers,
    QuietHours,
    SendTime,
    Variant,
)

__all__ = ["NO_ACTION", "Action", "Budget", "Cap", "Catalogue", "ChannelAnswers", "QuietHours", "SendTime", "Variant"]
