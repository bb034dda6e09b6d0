"""Operators that phones' graphics processors are known to refuse or to run slowly, from `gpu_operators.yaml`.

LiteRT's own analyzer passes any file, so it is no help here. A list ages: what it does not name is not proven to run.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import yaml


@cache
def known() -> dict[str, dict[str, str]]:
    """By operator: `doubt` (what is known) and `source` (where from)."""
    return yaml.safe_load((Path(__file__).parent / "gpu_operators.yaml").read_text(encoding="utf-8"))


def doubts(operators: Mapping[str, int]) -> list[str]:
    """Those of a file's operators that the list names."""
    return sorted(name for name in operators if name in known())


def as_text(operators: Sequence[str]) -> str:
    """What is known of operators, for a card."""
    if not operators:
        return (
            "No operator of these files is on our list of those that a GPU delegate refuses. This is not a proof: test "
            "the files on your phones, with the processor as a fallback."
        )
    listed = [f"- {name}: {known()[name]['doubt']} ({known()[name]['source']})" for name in operators]
    return "\n".join(["Known to be refused, or slow, by a GPU delegate:", "", *listed])
