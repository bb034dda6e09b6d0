"""The documentation against the code: links, images, commands, options, recipe keys, Python blocks, model cards."""

import ast
import re
import runpy
import shlex
import sys
import textwrap
from pathlib import Path

import click
import pytest
import yaml

import ganzoo
from ganzoo.cli import main
from ganzoo.recipes import entries, yaml_files

TOP = Path(__file__).parents[1]
README = TOP / "README.md"
PAGES = sorted([README, TOP / "CONTRIBUTING.md", *(TOP / "docs").rglob("*.md"), *(TOP / "export").glob("*/README.md")])
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))


def blocks(page, language):
    """The code blocks of a language, without the indentation of a list."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


def prose(page):
    """A page without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def slugs(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[`*]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)) for heading in headings]
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in plain}


def commands(page):
    """The `ganzoo` commands of a page's bash blocks, and after `$` of its text blocks, each as its words."""
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += [line[2:] for block in blocks(page, "text") for line in block.splitlines() if line.startswith("$ ")]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        for part in " ".join(shlex.quote(word) for word in words).split(" '&&' "):
            words = shlex.split(part)
            if words[:1] == ["ganzoo"] and "..." not in words:
                found.append(words[1:])
    return found


def parsed(words):
    """The parameters of a command, as the command line reads them."""
    with click.Context(main) as context:
        name, command, arguments = main.resolve_command(context, list(words))
        return name, command.make_context(name, arguments, parent=context).params


def test_the_readme_is_short():
    assert 500 < len(README.read_text(encoding="utf-8").split()) <= 1_200


def test_the_first_two_shell_blocks_are_those_that_ci_executes():
    demo, tests = blocks(README, "sh")
    assert demo.startswith("python3 -m venv .venv") and demo.rstrip().endswith("ganzoo demo")
    assert tests.startswith("python3 -m venv .venv") and "pytest" in tests


@each_page
def test_links_and_images_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} is missing"
        if anchor and file.suffix == ".md":
            assert anchor in slugs(file), f"{target}: {file.name} has no such heading"


@each_page
def test_commands_exist_with_their_options(page):
    for words in commands(page):
        if "--help" in words or "--version" in words:
            assert words[0].startswith("--") or words[0] in main.commands
            continue
        try:
            parsed(words)
        except click.ClickException as error:
            pytest.fail(f"ganzoo {' '.join(words)}: {error.format_message()}")


@each_page
def test_commands_in_the_text_exist_with_their_options(page):
    for code in re.findall(r"`ganzoo ([^`\n]+)`", prose(page)):
        name, *words = code.split()
        if name.startswith("-") or name.isupper():
            continue
        assert name in main.commands, f"`ganzoo {code}`: no such command"
        options = {option for one in main.commands[name].params for option in one.opts} | {"--help"}
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= options, f"`ganzoo {code}`: no option {given - options}"


@each_page
def test_settings_are_keys_of_the_recipe(page):
    from ganzoo import pretraining

    for words in commands(page):
        name, found = parsed(words) if "--help" not in words else ("", {})
        pairs = dict(pair.split("=", 1) for pair in found.get("sets", ()))
        changes = {key: yaml_files.parse_value(value) for key, value in pairs.items()}
        if not changes or found.get("name") not in entries.list_entries() or "..." in pairs.values():
            continue
        if name == "pretrain":
            pretraining.recipe(found["method"], found["name"], changes)
        else:
            entries.get_entry(found["name"]).recipe(**changes)


@each_page
def test_python_and_yaml_blocks_can_be_read(page):
    for code in blocks(page, "python"):
        ast.parse(code)
    for code in blocks(page, "yaml"):
        assert yaml.safe_load(code)


@pytest.mark.heavy
def test_the_readme_s_python_loads_weights_and_trains():
    space: dict = {}
    for code in blocks(README, "python")[:2]:
        exec(compile(code, str(README), "exec"), space)
    assert space["images"].shape[1:] == (32, 32, 3) and space["gan"].step_count == 8
    assert space["gan"].generate(2).shape == (2, 32, 32, 3)


def test_every_page_is_in_the_navigation():
    text = (TOP / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"([\w/-]+\.md)$", text, re.MULTILINE))
    assert listed == {str(page.relative_to(TOP / "docs")) for page in (TOP / "docs").rglob("*.md")}


def test_every_public_name_is_on_the_api_page():
    named = set(re.findall(r"heading: ganzoo\.([\w.]+)$", (TOP / "docs/api.md").read_text(), re.MULTILINE))
    assert set(ganzoo.__all__) <= named


def test_every_entry_has_a_card_with_the_facts_of_its_recipe(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo_cards.py", "--check"])
    runpy.run_path(str(TOP / "docs/zoo_cards.py"), run_name="__main__")  # exits where a card is out of date
    for name in entries.list_entries():
        card = TOP / "docs/zoo" / f"{name.split('/')[1]}.md"
        assert card.read_text(encoding="utf-8").startswith(f"# {name}\n")
        assert f"[`{name}`](docs/zoo/{card.name})" in README.read_text(encoding="utf-8")


def texts_of_the_source():
    """All texts in the package's modules, without docstrings: of f-strings the parts between the values."""
    found = []
    for path in [*(TOP / "ganzoo").rglob("*.py"), *(TOP / "export").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
        found += [node.value for node in nodes if isinstance(node.value, str)]
    return found


def test_errors_that_are_quoted_are_those_of_the_source():
    page = (TOP / "docs/troubleshooting.md").read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    quoted = [span for span in spans if " " in span and not span.startswith(("ganzoo ", "--", "pip "))]
    assert len(quoted) >= 4
    source = "\n".join(texts_of_the_source())
    for span in quoted:
        for part in re.split(r"\.\.\.|runs/\w+", span):
            assert part.strip() in source, f"no text of the source has '{part.strip()}', which '{span}' quotes"


ODD = (
    r"\b(told|mend|mended|thaws?|thawed|at hand|by heart|begun|a matter of|reals(?!\.png)|(?<!--)fakes)\b"
    r"|\blies (above|below|in)\b"
)


def test_texts_for_users_are_in_plain_words():
    kept = "both sets normalised by the reals"  # of scorecards' protocols, which are compared
    texts = [text for text in texts_of_the_source() if " " in text and kept not in text]
    texts += [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    assert len(texts) > 2_000
    assert not [text for text in texts if re.search(ODD, text)]


def test_the_image_files_of_the_docs_are_used():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    unused = [
        path.name
        for path in (TOP / "docs/images").rglob("*.*")
        if f"images/{path.name}" not in text and f"zoo/{path.name}" not in text
    ]
    assert not unused
