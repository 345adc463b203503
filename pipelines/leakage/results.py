"""What the search for leakage says: alarms, raised or not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Alarm:
    """One question put to the dataset. It is raised where `figure` passes `threshold` (None: there is none).

    `detail` is the answer in words, `figures` the numbers in it. No customer is named. One that `blocks` says that
    the model's own figures may be too good; one that does not warns of another way to get them.
    """

    name: str
    raised: bool
    figure: float | None
    threshold: float | None
    meaning: str
    detail: str
    figures: dict[str, float]
    blocks: bool = True

    def finite(self) -> Alarm:
        """The same with None, or nothing, in place of figures that are undefined; JSON has no NaN."""
        figure = self.figure if self.figure is not None and math.isfinite(self.figure) else None
        return replace(
            self, figure=figure, figures={name: value for name, value in self.figures.items() if math.isfinite(value)}
        )


@dataclass(frozen=True, slots=True)
class Leakage:
    """All of `leakage.json`. The hashes say which dataset and which booster file were looked at."""

    model: str
    dataset_hash: str
    model_hash: str
    alarms: tuple[Alarm, ...]
    seconds: float

    @property
    def raised(self) -> tuple[Alarm, ...]:
        return tuple(alarm for alarm in self.alarms if alarm.raised)

    def text(self) -> str:
        """The summary for a person: a table, then what each alarm found."""
        names = ", ".join(alarm.name for alarm in self.raised)
        heading = f"Leakage of {self.model}: {f'RAISED: {names}' if names else 'no alarm'}, in {self.seconds:.1f} s"
        lines = [heading, f"  {'alarm':<17}  {'figure':>8}  {'threshold':>9}  meaning"]
        for alarm in self.alarms:
            state = "RAISED: " if alarm.raised else ""
            lines.append(
                f"  {alarm.name:<17}  {_number(alarm.figure):>8}  {_number(alarm.threshold):>9}  {state}{alarm.meaning}"
            )
        return "\n".join([*lines, *(f"  {alarm.name}: {alarm.detail}" for alarm in self.alarms)])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3f}"
