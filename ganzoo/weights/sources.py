"""The pretrained networks that weights come from, as dicts: `backbone`, `family`, `trained_on`."""

from collections.abc import Sequence

UNKNOWN = "unknown"


def distinct(sources: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Each of some `BackboneInfo.source_entry()` once."""
    return [source for index, source in enumerate(sources) if source not in sources[:index]]
