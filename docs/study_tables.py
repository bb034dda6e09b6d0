"""Write the tables of the studies from their raw results, `tests/benchmarks/*_study.json`.

    python docs/study_tables.py          # write them
    python docs/study_tables.py --check  # exit with 1 where a table is out of date

`tests/benchmarks/NAME_study.md` holds all columns of a study. In the pages of `docs/studies/`, the lines between
`<!-- Table, by docs/study_tables.py: NAME SET -->` and `<!-- End of table. -->` hold the most important ones of a set.
The results come from `ganzoo bench NAME --out DIR --data SET=DATA`, whose `DIR/results.json` is the raw file. No
TensorFlow is loaded.
"""

import json
import re
import sys
from pathlib import Path

from ganzoo import registry, study_report
from ganzoo.recipe_files import read_yaml

TOP = Path(__file__).parents[1]
RAW = TOP / "tests/benchmarks"
PLACE = re.compile(r"(<!-- Table, by docs/study_tables\.py: (\w+) (\w+) -->\n).*?(<!-- End of table\. -->)", re.DOTALL)


def cells(study: str) -> list[dict]:
    """The raw results of a study."""
    return json.loads((RAW / f"{study}_study.json").read_text(encoding="utf-8"))


def pages() -> dict[Path, str]:
    """Every file with a study's tables, as it should be."""
    plans = {name: read_yaml(path) for name, path in registry.recipe_paths("_studies").items()}
    found = {
        RAW / f"{name}_study.md": study_report.whole(cells(name), plan.get("groups", ()))
        for name, plan in plans.items()
    }
    for page in sorted((TOP / "docs").rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = PLACE.sub(
            lambda place: f"{place[1]}\n{study_report.short_table(cells(place[2]), place[3])}\n\n{place[4]}", before
        )
        if PLACE.search(before):
            found[page] = after
    return found


def main() -> None:
    """Write the tables, or check them."""
    old = {
        path: text for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    if "--check" not in sys.argv[1:]:
        for path, text in old.items():
            path.write_text(text, encoding="utf-8")
    elif old:
        raise SystemExit(f"Out of date: {', '.join(path.name for path in old)}. Run `python docs/study_tables.py`.")


if __name__ == "__main__":
    main()
