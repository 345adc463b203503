"""What `configs/expectations.yaml` may say: what has to be true of each batch and of the whole lake."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import Field, model_validator

from feature_repo.configuration import ConfigModel

Severity = Literal["critical", "warning"]


class Condition(ConfigModel):
    """Which rows an expectation looks at; all parts given must hold. Empty parts do not restrict."""

    event: tuple[str, ...] = Field(default=(), description="only rows of these events")
    not_event: tuple[str, ...] = Field(default=(), description="only rows of other events than these")
    source: tuple[str, ...] = Field(default=(), description="only rows from these sources")
    present: tuple[str, ...] = Field(default=(), description="only rows where these columns have a value")


class ExpectationConfig(ConfigModel):
    """One expectation of Great Expectations, and what to tell a person when it does not hold.

    Attributes:
        expectation: class name, such as `ExpectColumnValuesToNotBeNull`.
        kwargs: arguments of that class. A list may be `{from: tracking_plan.events}` (or `.channels`,
            `.currencies`), so that the tracking plan is not written twice.
        severity: a failed `critical` one stops the pipeline; a failed `warning` is reported.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    expectation: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    where: Condition = Condition()
    severity: Severity
    meaning: str = Field(min_length=1)
    remedy: str = Field(min_length=1)


class ExpectationsConfig(ConfigModel):
    """All of `configs/expectations.yaml`; an entry of `both` is checked on each batch and on the lake."""

    both: tuple[ExpectationConfig, ...] = ()
    batch: tuple[ExpectationConfig, ...] = ()
    lake: tuple[ExpectationConfig, ...] = ()

    @model_validator(mode="after")
    def _names_once(self) -> ExpectationsConfig:
        names = Counter(entry.name for entry in (*self.both, *self.batch, *self.lake))
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f"each name once; more than once: {', '.join(twice)}")
        return self

    def of(self, scope: Literal["batch", "lake"]) -> tuple[ExpectationConfig, ...]:
        """Everything that is checked on a batch, or on the lake."""
        return self.both + (self.batch if scope == "batch" else self.lake)
