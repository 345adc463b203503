"""What the routes of a data subject's rights answer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Entry = dict[str, JsonValue]
_REQUEST_ID = "9f86d081884c4d659a2feaa0c55ad015"


class AccessResponse(BaseModel):
    """Everything that is held about a customer, in the clear, and every use of it. Audited."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "example": {
                "request_id": _REQUEST_ID,
                "customer_id": "17850",
                "made_at": "2026-03-04T05:00:00.000000Z",
                "identifiers": [
                    {"kind": "user_id", "value": "17850", "stored_as": "17850", "theirs_since": None},
                ],
                "links": [],
                "permissions": [],
                "sources": [{"source": "web", "collected_under": []}],
                "events": [],
                "features": None,
                "features_of_other_specs": [],
                "quarantine": [],
                "predictions": [],
                "decisions": [],
                "messages": [],
                "training_sets": [],
                "model_versions": [],
                "audit": [],
            }
        },
    )

    request_id: str
    customer_id: str
    made_at: str = Field(description="as all instants here: ISO 8601, UTC")
    identifiers: list[Entry]
    links: list[Entry]
    permissions: list[Entry] = Field(description="what they said of each purpose, and which sources count without it")
    sources: list[Entry] = Field(description="where events came from, and what those sources state of them")
    events: list[Entry] = Field(description="as they came, with what is encrypted at rest opened")
    features: Entry | None = Field(description="as of now; null where no state was built")
    features_of_other_specs: list[Entry]
    quarantine: list[Entry] = Field(description="rejected lines that name them")
    predictions: list[Entry] = Field(description="those in the log of what was served")
    decisions: list[Entry] = Field(description="those that caps and the budget count")
    messages: list[Entry] = Field(description="those that triggers set off")
    training_sets: list[Entry]
    model_versions: list[Entry]
    audit: list[Entry]


class Trace(BaseModel):
    """A file that still names the customer, and how it was read."""

    model_config = ConfigDict(frozen=True)

    file: str
    where: str


class EraseResponse(BaseModel):
    """What was removed for ever, told when a search of every file is done.

    `found` has files that still name the customer. Events that arrive meanwhile are told to come again. Audited
    before and after.
    """

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": _REQUEST_ID,
                "subject": "person:4f1c02",
                "events": 12,
                "altered": 0,
                "identifiers": 2,
                "quarantined": 0,
                "served": 3,
                "files": {"decisions.db": 1},
                "found": [],
                "not_reached": ["backups"],
                "seconds": 0.4,
            }
        },
    )

    request_id: str
    subject: str = Field(description="who in the audit log: a pseudonym")
    events: int
    altered: int = Field(description="events of other customers that lost an identifier of this one")
    identifiers: int
    quarantined: int = Field(description="rejected lines")
    served: int = Field(description="logged predictions")
    files: dict[str, int] = Field(description="file: rows or passages removed")
    found: list[Trace]
    not_reached: list[str] = Field(description="where erasure does not reach")
    seconds: float
