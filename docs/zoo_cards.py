"""Fill in the facts of the model cards, `docs/zoo/*.md`, from the entries' YAML files.

    python docs/zoo_cards.py          # write them
    python docs/zoo_cards.py --check  # exit with 1 where a card is out of date

A card's text is written by hand. Its facts stand between two comments and come from here, so that the YAML stays their
only source. No TensorFlow is loaded.
"""

import sys
from pathlib import Path

from ganzoo import registry

CARDS = Path(__file__).parent / "zoo"
BEGIN, END = "<!-- Facts, by docs/zoo_cards.py. -->", "<!-- End of facts. -->"
_SCORES = {
    "sliced_wasserstein_x1000": "sliced Wasserstein x1000 (lower is better)",
    "kid_self_supervised": "KID, self-supervised network (lower is better)",
    "recall_self_supervised": "recall, self-supervised network (higher is better)",
}


def facts(entry: registry.ZooEntry) -> str:
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
    scores = {text: entry.scores[key] for key, text in _SCORES.items()}
    return "\n".join(
        [
            "| property | value |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            f"Scores by `{entry.scores['protocol'].split(',')[0]}`,{entry.scores['protocol'].split(',', 1)[1]}:",
            "",
            "| score | value (floor) |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in scores.items()),
        ]
    )


def overview(entries: list[registry.ZooEntry]) -> str:
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
    entries = [entry for name in registry.list_entries() if (entry := registry.get_entry(name)).weights]
    pages = {CARDS / f"{entry.name.split('/')[1]}.md": facts(entry) for entry in entries}
    pages[CARDS / "index.md"] = overview(entries)
    old = []
    for path, text in pages.items():
        before, after = filled(path, text)
        if before != after:
            old.append(path.name)
            if "--check" not in sys.argv[1:]:
                path.write_text(after, encoding="utf-8")
    if "--check" in sys.argv[1:] and old:
        raise SystemExit(f"Out of date: {', '.join(old)}. Run `python docs/zoo_cards.py`.")


if __name__ == "__main__":
    main()
