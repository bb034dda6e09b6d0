"""Every measured figure in the README and the docs against `docs/claims.yaml` and the raw data named there.

`python tests/test_claims.py` lists the figures that are neither claimed nor exempt.
"""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

TOP = Path(__file__).parents[1]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
CLAIMS = yaml.safe_load((TOP / "docs/claims.yaml").read_text(encoding="utf-8"))

NUMBER = r"(?<![\w.,/-])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\d]|x\d|-bit|\.\d)"
UNIT = (
    r"\s*(?:%|(?:ms|s|min|MB|MiB|GB|GiB|KB|KiB|seconds?|minutes?|hours?|times|images a second|images/s|processor "
    r"minutes|M)\b)"
)
SCORE = (
    r"\b(?:FID|KIDs?|[Pp]recision|[Rr]ecall|[Dd]ensity|[Cc]overage|[Ss]liced|distances?|floors?|scores?|errors?|"
    r"share|variance|unevenness|power|faster|slower|as high|lower|higher)\b"
)
NOT_FIGURES = (
    r"x1000\b",  # of the name of a score
    r"\b\d+ ?x ?\d+\b",  # the size of images
    r"(?<=[a-z.] )\b(?:19|20)\d\d\b",  # years of papers
    r"\bPython 3\.\d+\b",
)


class Figure(NamedTuple):
    """A number on a page that stands next to a unit or a score, and where."""

    printed: str
    start: int
    line: int


def hidden(match: re.Match) -> str:
    """Blanks of the same length, lines kept."""
    return re.sub(r"[^\n]", " ", match[0])


def plain(text: str) -> str:
    """A page without code, links' targets, and what a script writes; every character keeps its place."""
    for pattern in (
        r"^( *)```.*?^\1```",
        r"<!-- [^\n]*, by docs/\w+\.py[^\n]*-->.*?<!-- End of \w+\. -->",
        r"`[^`\n]*`",
        r"\]\([^)\s]*\)",
        r"https?://\S+",
        *NOT_FIGURES,
    ):
        text = re.sub(pattern, hidden, text, flags=re.DOTALL | re.MULTILINE)
    return text


def figures(text: str) -> list[Figure]:
    """The numbers of a page that stand next to a unit, or in a sentence or a table with the name of a score."""
    text = plain(text)
    found = []
    for start, end in pieces(text):
        piece = text[start:end]
        of_a_score = re.search(SCORE, piece) or (piece.startswith("|") and re.search(r"\b(?:ms|MB|MiB|s)\b", piece))
        for match in re.finditer(NUMBER, piece):
            if of_a_score or re.match(UNIT, piece[match.end() :]):
                at = start + match.start()
                found.append(Figure(match[0], at, text.count("\n", 0, at) + 1))
    return found


def pieces(text: str) -> list[tuple[int, int]]:
    """Where the sentences and tables of a text begin and end."""
    found = []
    for block in re.finditer(r"(?:[^\n]*\S[^\n]*(?:\n|$))+", text):
        if block[0].lstrip().startswith("|"):
            found.append((block.start() + len(block[0]) - len(block[0].lstrip()), block.end()))
            continue
        start = block.start()
        for stop in re.finditer(r"[.!?;:](?=\s)|\n(?=\s*[-*|] )", block[0]):
            found.append((start, block.start() + stop.end()))
            start = block.start() + stop.end()
        found.append((start, block.end()))
    return found


def place(text: str, words: str) -> tuple[int, int]:
    """Where words stand in a text, whatever their line breaks; an error where they stand there never or twice."""
    pattern = r"\s+".join(re.escape(word) for word in words.split())
    found = [match.span() for match in re.finditer(pattern, text)]
    assert len(found) == 1, f"'{words}' stands there {len(found)} times"
    return found[0]


def covered(text: str, exemption: dict[str, str]) -> tuple[int, int]:
    """Where an exemption holds: at its `text`, or from the beginning of `from` to the end of `to`."""
    if "text" in exemption:
        return place(text, exemption["text"])
    return place(text, exemption["from"])[0], place(text, exemption["to"])[1]


def values_at(data: Any, key: str) -> list[Any]:
    """The values at a path such as `a > 0 > [seed=1] > * > kid`: keys, indices, elements with such values, all."""
    values = [data]
    for step in key.split(" > "):
        if step == "*":
            values = [one for value in values for one in (value.values() if isinstance(value, dict) else value)]
        elif step.startswith("["):
            wanted = dict(pair.split("=", 1) for pair in step[1:-1].split("; "))
            values = [
                one for value in values for one in value if all(str(one[name]) == wanted[name] for name in wanted)
            ]
        else:
            values = [value[int(step)] if isinstance(value, list) else value[step] for value in values]
    assert values, f"there is nothing at {key}"
    return values


TAKE = {"one": lambda values: values[0], "least": min, "most": max, "count": len}
TAKE["mean"] = lambda values: sum(values) / len(values)


def computed(claim: dict[str, Any], data: Any) -> Any:
    """The value that a claim names: at `key`, divided by that at `over`, times `times`; `take` of several."""
    values = values_at(data, claim["key"])
    take = claim.get("take", "one")
    assert take != "one" or len(values) == 1, f"{claim['key']} names {len(values)} values"
    value = TAKE[take](values)
    if "over" in claim:
        value /= values_at(data, claim["over"])[0]
    return value * claim["times"] if "times" in claim else value


def rounded(value: Any, printed: str) -> str:
    """A value with as many digits as the printed one."""
    if isinstance(value, str):
        return value
    if "e" in printed:
        mantissa = printed.split("e")[0].lstrip("-")
        text = f"{value:.{len(mantissa.partition('.')[2])}e}"
        return re.sub(r"e([-+])0*(\d)", lambda match: f"e{match[1].replace('+', '')}{match[2]}", text)
    digits = len(printed.partition(".")[2])
    comma = "," if "," in printed else ""
    return f"{value:{'+' if printed.startswith('+') else ''}{comma}.{digits}f}"


def loaded(source: dict[str, Any]) -> Any:
    path = TOP / source["data"]
    text = path.read_text(encoding="utf-8")
    return yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)


ALL = [(page, claim) for page, claims in CLAIMS["claims"].items() for claim in claims]


@pytest.mark.parametrize(("page", "claim"), ALL, ids=lambda one: one if isinstance(one, str) else one["text"][:40])
def test_a_claimed_figure_stands_in_its_text_and_equals_the_raw_data(page, claim):
    text = (TOP / page).read_text(encoding="utf-8")
    place(text, claim["text"])
    data = loaded(CLAIMS["sources"][claim["source"]])
    rest = claim["text"]
    for value in claim["values"]:
        printed = value["printed"]
        _, found, rest = rest.partition(printed)
        assert found, f"'{printed}' is not in '{claim['text']}', or not in this order"
        assert rounded(computed(value, data), printed) == printed


def test_every_source_names_its_command_date_commit_and_data():
    for name, source in CLAIMS["sources"].items():
        assert set(source) == {"command", "date", "commit", "data"}, name
        assert (TOP / source["data"]).is_file(), name
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", str(source["date"])), name
        assert re.fullmatch(r"[0-9a-f]{7,40}", str(source["commit"])), name
        assert source["command"].split()[0] in ("python", "ganzoo"), name
        for script in re.findall(r"\S+\.py", source["command"]):
            assert (TOP / script).is_file(), f"{name}: {script}"
    used = {claim["source"] for _, claim in ALL} | {one["source"] for one in CLAIMS["tables"]}
    assert used == set(CLAIMS["sources"])


@pytest.mark.parametrize("script", sorted({one["script"] for one in CLAIMS["tables"]}))
def test_tables_are_what_their_script_makes_of_the_raw_data(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    runpy.run_path(str(TOP / script), run_name="__main__")  # exits where a table is out of date


def test_every_generated_part_of_a_page_is_claimed():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        scripts = {f"docs/{name}" for name in re.findall(r"<!-- [^\n]*, by docs/(\w+\.py)", text)}
        name = str(page.relative_to(TOP))
        assert scripts == {one["script"] for one in CLAIMS["tables"] if name in one["files"]}, name


def unclaimed(page: Path) -> list[Figure]:
    """The figures of a page that neither a claim nor an exemption covers."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(TOP))
    spans = [covered(text, one) for one in CLAIMS["exempt"].get(name, ())]
    for claim in CLAIMS["claims"].get(name, ()):
        start, end = place(text, claim["text"])
        for value in claim["values"]:
            at = text.index(value["printed"].split()[0], start, end)
            start = at + len(value["printed"])
            spans.append((at, start))
    return [one for one in figures(text) if not any(start <= one.start < end for start, end in spans)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_figure_is_claimed_or_exempt(page):
    listed = [f"line {one.line}: {one.printed}" for one in unclaimed(page)]
    assert not listed, f"{page.name}: enter these into docs/claims.yaml: {listed}"


def test_every_exemption_has_a_reason_and_hides_a_figure():
    reasons = CLAIMS["reasons"]
    for name, exemptions in CLAIMS["exempt"].items():
        text = (TOP / name).read_text(encoding="utf-8")
        found = figures(text)
        for one in exemptions:
            assert one["reason"] in reasons
            start, end = covered(text, one)
            assert any(start <= figure.start < end for figure in found), f"{name}: {one} has no figure"


def test_figures_are_found_where_they_stand_next_to_scores_and_units():
    text = (
        "The KID is 0.0046 (floor -0.0016).\nIt takes 1,080 s, 3% or 5e-6 MB. Not 12 of them, `--minutes 20`, 64x64,\n"
        "float32 or [see](a.md#3). Brock et al. 2019 have a FID of 7.\n\n| entry | recall |\n|---|---|\n| a | 0.41 |\n"
        "\n"
        "<!-- Facts, by docs/a.py. -->\n| FID | 3 |\n<!-- End of facts. -->\n"
    )
    assert [one.printed for one in figures(text)] == ["0.0046", "-0.0016", "1,080", "3", "5e-6", "7", "0.41"]


def test_values_are_rounded_as_they_are_printed():
    data = {"a": [{"seed": 0, "kid": 0.00461}, {"seed": 1, "kid": 0.0002}], "b": {"x": 2, "y": 4}}
    assert rounded(computed({"key": "a > [seed=0] > kid"}, data), "0.0046") == "0.0046"
    assert rounded(computed({"key": "a > 0 > kid", "over": "b > x", "times": 1e6}, data), "2,305") == "2,305"
    assert rounded(computed({"key": "a > * > kid", "take": "least"}, data), "2e-4") == "2e-4"
    assert rounded(computed({"key": "b > *", "take": "mean"}, data), "3.0") == "3.0"
    with pytest.raises(AssertionError, match="names 2 values"):
        computed({"key": "a > * > kid"}, data)


if __name__ == "__main__":
    for one_page in PAGES:
        lines = one_page.read_text(encoding="utf-8").splitlines()
        for figure in unclaimed(one_page):
            where = f"{one_page.relative_to(TOP)}:{figure.line}"
            print(f"{where}: {figure.printed:>9}  {lines[figure.line - 1].strip()[:150]}")
