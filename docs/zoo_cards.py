"""Write what the docs, the README and the entries' YAML files say of the published weights.

    python docs/zoo_cards.py          # write it
    python docs/zoo_cards.py --check  # exit with 1 where something is out of date

Scores come from `tests/benchmarks/published_scores.json` alone (`tests/benchmarks/published_scores.py` measures them)
and go to the key `scores` of each entry's YAML file, the model cards `docs/zoo/*.md`, and the tables of README.md and
docs/benchmarks.md. All other facts of a card come from the YAML file. What is written stands between two comments; the
other text is written by hand. No TensorFlow is loaded.
"""

import json
import re
import sys
from pathlib import Path

import yaml

from ganzoo.metrics.card import TOO_FEW, ImageScores, NetworkScores, Scorecard
from ganzoo.recipes import entries as zoo_entries

TOP = Path(__file__).parents[1]
CARDS = TOP / "docs/zoo"
PUBLISHED = TOP / "tests/benchmarks/published_scores.json"
BEGIN, END = "<!-- Facts, by docs/zoo_cards.py. -->", "<!-- End of facts. -->"
USES = {  # what the README says of each entry: what it makes, and what for
    "image/dcgan_32": ("32x32 images; published: digits", "small images, first experiments"),
    "image/wgan_gp_32": ("32x32 images of a given class; published: digits", "small images in classes"),
    "image/projected_mobile_64": ("64x64 images; published: clip art", "your own images, phones"),
    "image/elastic_mobile_64": (
        "the same at three widths from one training; published: clip art",
        "a file for each kind of phone",
    ),
}
NOT_SCORED = "Not scored with the current version of the scoring"
NO_DIGIT = "no digits by an independent classifier, % (lower is better)"
_DIGITS = {"fid": 2, "kid": 4, "precision": 2, "recall": 2, "density": 2, "coverage": 2}
_NETWORK = {
    "precision": "precision (higher is better)",
    "recall": "recall (higher is better)",
    "density": "density (1 is best)",
    "coverage": "coverage (higher is better)",
    "kid": "KID (lower is better)",
    "fid": "FID (lower is better)",
}
_SLICED = {"with contrast": 0, "without contrast": 1}  # the first scores of `Scorecard.without_network()`


class Published:
    """The scores of an entry's published weights."""

    def __init__(self, name: str):
        self.raw = json.loads(PUBLISHED.read_text(encoding="utf-8"))[name]
        self.cards = {width: Scorecard.from_dict(card) for width, card in self.raw["widths"].items()}
        self.card = self.cards["1"]

    def of_network(self, network: str, score: str) -> str:
        """A score at every width, its range over fits where there is one width, and the floor in brackets."""
        found = [one for card in self.cards.values() for one in card.networks if one.name == network]
        digits = _DIGITS[score] if network == "self_supervised" else 1
        values = [_shown(one, score, digits) for one in found]
        over = found[0].range_over_fits(score) if len(found) == 1 and found[0].told(score) else None
        text = ", ".join(values)
        text += f", {over[0]:.{digits}f} to {over[1]:.{digits}f} over fits" if over else ""
        return f"{text} ({found[0].floor[score]:.{digits}f})"

    def briefly(self, score: str) -> str:
        """A score of the whole generator over the self-supervised network, and the floor in brackets."""
        found = self._network(self.card, "self_supervised")
        digits = _DIGITS[score]
        return f"{_shown(found, score, digits)} ({found.floor[score]:.{digits}f})"

    def sliced(self, form: str) -> str:
        """The sliced Wasserstein distance at every width, and the floors of several splits in brackets."""
        found = [card.without_network()[_SLICED[form]] for card in self.cards.values()]
        floors = found[0].floors["average"]
        values = ", ".join(_shown(one, "average", 1) for one in found)
        return f"{values} ({min(floors):.1f} to {max(floors):.1f})"

    def no_digit(self) -> str:
        """The share that an independent classifier takes for no digit, that of real digits in brackets; or empty."""
        found = self.raw.get("classifier")
        return f"{found['no_digit']['mean']:.1f} ({found['no_digit_real']['mean']:.1f})" if found else ""

    def protocol(self) -> str:
        """How the scores were measured."""
        protocol = self.card.protocol
        fits = len(self._network(self.card, "self_supervised").fits)
        widths = f", at the widths {', '.join(self.cards)}" if len(self.cards) > 1 else ""
        return (
            f"{self.raw['command']}, {protocol['samples']:,} samples, seed {protocol['seed']}, {fits} fits of the "
            f"self-supervised network{widths}, scoring version {protocol['scoring_version']}; real images in brackets"
        )

    def scores(self) -> dict[str, str]:
        """All scores, for the YAML file."""
        found = {"protocol": self.protocol()}
        if self.no_digit():
            found["no_digit_percent"] = self.no_digit()
        found |= {f"{score}_self_supervised": self.of_network("self_supervised", score) for score in _NETWORK}
        found["kid_squeezenet"] = self.of_network("squeezenet", "kid")
        return found | {f"sliced_wasserstein_x1000_{form.replace(' ', '_')}": self.sliced(form) for form in _SLICED}

    @staticmethod
    def _network(card: Scorecard, name: str) -> NetworkScores:
        return next(one for one in card.networks if one.name == name)


def published_of(name: str) -> Published | None:
    """The scores of an entry's published weights; None where these weights were not scored."""
    raw = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    scored = name in raw and raw[name]["sha256"] == zoo_entries.get_entry(name).weights["sha256"]
    return Published(name) if scored else None


def _shown(scores: ImageScores | NetworkScores, name: str, digits: int) -> str:
    """A score in digits, or that it cannot be told from its floor."""
    value = scores.shown()[name]
    return value if value == TOO_FEW else f"{value:.{digits}f}"


def facts(entry: zoo_entries.ZooEntry) -> str:
    """The facts of an entry as Markdown."""
    raw, weights = entry.raw, entry.weights
    size, channels = raw["data"]["size"], raw["data"]["channels"]
    training = raw["training"]
    optimizer = raw["optimizers"]["generator"]
    rows = {
        "What it makes": f"images of {size}x{size} pixels, {'grey' if channels == 1 else 'RGB'}"
        + (f", of a given class ({', '.join(names)})" if (names := weights.get("class_names")) else ""),
        "Input": f"a latent of {raw['model']['latent_dim']} normally distributed numbers"
        + (", and a class" if names else ""),
        "Architecture": f"`ganzoo/gans/{raw['gan']}.py`, [paper]({entry.paper})",
        "Parameters": ", ".join(
            f"{part} {count / 1e6:.2f} million" for part, count in entry.about["parameters"].items()
        ),
        "Training data": weights["data"],
        "Licence of the weights": weights["licence"],
        "Loss": f"{raw['objective'].replace('_', '-')}"
        + "".join(f", {one['name'].replace('_', ' ')} (weight {one['weight']})" for one in raw.get("regularizers", [])),
        "Augmentation": ", ".join((raw.get("augment") or {}).get("policy", [])) or "none",
        "Optimizer": f"{optimizer['name']}, learning rate {optimizer['learning_rate']}, beta_1 {optimizer['beta_1']}, "
        f"beta_2 {optimizer['beta_2']}",
        "Batch": f"{training['batch_size']} images",
        "Recipe": f"`zoo_configs/{entry.name}.yaml`; `ganzoo show {entry.name} --all` prints every key",
        "Weights, sha256": f"`{weights['sha256']}`",
    }
    return "\n".join(
        [
            "| property | value |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            scored(entry),
        ]
    )


def scored(entry: zoo_entries.ZooEntry) -> str:
    """The scores of an entry as Markdown."""
    published = published_of(entry.name)
    if published is None:
        return f"{NOT_SCORED}: `python tests/benchmarks/published_scores.py {entry.name}` measures them."
    command, _, rest = published.protocol().partition(",")
    rows = {NO_DIGIT: published.no_digit()} if published.no_digit() else {}
    rows |= {text: published.of_network("self_supervised", score) for score, text in _NETWORK.items()}
    rows["KID, SqueezeNet (lower is better)"] = published.of_network("squeezenet", "kid")
    rows |= {f"sliced Wasserstein x1000, {form} (lower is better)": published.sliced(form) for form in _SLICED}
    return "\n".join(
        [
            f"Scores by `{command}`,{rest}. Where no network is named: the self-supervised one. "
            f'"{TOO_FEW[0].upper()}{TOO_FEW[1:]}": the score may be that of real images.',
            "",
            "| score | value (real images) |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
        ]
    )


def readme_table(entries: list[zoo_entries.ZooEntry]) -> str:
    """The README's table of the zoo."""
    lines = [
        "| entry | what it makes | use it for | parameters | precision | recall | KID |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, uses in USES.items():
        entry = next(one for one in entries if one.name == name)
        found = published_of(name)
        values = [found.briefly(score) if found else "-" for score in ("precision", "recall", "kid")]
        size = f"{entry.about['parameters']['generator'] / 1e6:.2f} M"
        link = f"[`{name}`](docs/zoo/{name.split('/')[1]}.md)"
        lines.append(f"| {' | '.join([link, *uses, size, *values])} |")
    return "\n".join(lines)


def scores_table(entries: list[zoo_entries.ZooEntry]) -> str:
    """The table of scores of docs/benchmarks.md."""
    names = [entry.name for entry in entries if published_of(entry.name)]
    lines = [f"| score | {' | '.join(f'`{name}`' for name in names)} |", "|---|" + "---|" * len(names)]
    columns = [Published(name) for name in names]
    rows = {"samples": [f"{one.card.protocol['samples']:,}" for one in columns]}
    rows[NO_DIGIT] = [one.no_digit() for one in columns]
    rows |= {text: [one.of_network("self_supervised", score) for one in columns] for score, text in _NETWORK.items()}
    rows["KID, SqueezeNet"] = [one.of_network("squeezenet", "kid") for one in columns]
    rows |= {f"sliced Wasserstein x1000, {form}": [one.sliced(form) for one in columns] for form in _SLICED}
    return "\n".join([*lines, *(f"| {text} | {' | '.join(values)} |" for text, values in rows.items())])


def with_scores(path: Path, scores: dict[str, str]) -> tuple[str, str]:
    """An entry's YAML file as it is, and with these scores."""
    before = path.read_text(encoding="utf-8")
    block = yaml.safe_dump({"scores": scores}, sort_keys=False, allow_unicode=True, width=10_000)
    after, count = re.subn(r"^scores:.*\n(?: .*\n)*", lambda _: block, before, flags=re.MULTILINE)
    if count != 1:
        raise SystemExit(f"{path} must hold one key `scores`.")
    return before, after


def overview(entries: list[zoo_entries.ZooEntry]) -> str:
    """The table of all entries."""
    lines = ["| entry | what it is | use | trained on |", "|---|---|---|---|"]
    for entry in entries:
        card, data = entry.name.split("/")[1], entry.weights["data"].split(" (")[0]
        lines.append(f"| [`{entry.name}`]({card}.md) | {entry.summary} | {entry.about['use']} | {data} |")
    return "\n".join(lines)


def filled(path: Path, text: str) -> tuple[str, str]:
    """A page as it is, and as it should be."""
    before = path.read_text(encoding="utf-8")
    if before.count(BEGIN) != 1 or before.count(END) != 1:
        raise SystemExit(f"{path} must hold one line '{BEGIN}' and one line '{END}'.")
    start, rest = before.split(BEGIN)
    return before, f"{start}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write the cards, or check them."""
    entries = [entry for name in zoo_entries.list_entries() if (entry := zoo_entries.get_entry(name)).weights]
    pages = {CARDS / f"{entry.name.split('/')[1]}.md": facts(entry) for entry in entries}
    pages[CARDS / "index.md"] = overview(entries)
    pages[TOP / "README.md"] = readme_table(entries)
    pages[TOP / "docs/benchmarks.md"] = scores_table(entries)
    changes: dict[Path, tuple[str, str]] = {path: filled(path, text) for path, text in pages.items()}
    for entry in entries:
        path = TOP / "zoo_configs" / f"{entry.name}.yaml"
        published = published_of(entry.name)
        changes[path] = with_scores(path, published.scores() if published else {"protocol": NOT_SCORED})
    old = {path: after for path, (before, after) in changes.items() if before != after}
    if "--check" not in sys.argv[1:]:
        for path, after in old.items():
            path.write_text(after, encoding="utf-8")
    elif old:
        raise SystemExit(f"Out of date: {', '.join(path.name for path in old)}. Run `python docs/zoo_cards.py`.")


if __name__ == "__main__":
    main()
