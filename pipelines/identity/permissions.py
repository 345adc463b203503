"""Which sources were collected under a purpose: mappings say it of files, keys of what clients send."""

from __future__ import annotations

from pipelines.settings import Settings


def sources_under(settings: Settings, purpose: str) -> frozenset[str]:
    """The sources whose events may be used for `purpose` unless their customer said no."""
    files = {name for name, source in settings.sources.items() if source.consent and purpose in source.consent.purposes}
    return frozenset(files)
