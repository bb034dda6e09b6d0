"""The shape of the code: where modules lie, and that imports point one way."""

import ast
from pathlib import Path

TOP = Path(__file__).parents[1]
# From the lowest to the highest: a module imports those of its own row and of lower ones.
ROWS = (
    {"errors", "files", "distribution", "startup", "progress", "printing"},
    {"recipes"},
    {"weights"},
    {"domains", "metrics", "data", "losses", "augmentations", "layers", "backbones"},
    {"core"},
    {"addons", "pretraining", "discriminators", "gans"},
    {"zoo"},
    {"runs", "reports", "export"},
    {"commands"},
    {"cli"},
    {"", "__main__"},
)
# Those that point up, and why.
UPWARDS = {
    ("ganzoo.core.gan", "ganzoo"),  # Keras' `export` of a model, which is the public function
    ("ganzoo.discriminators.ensemble", "ganzoo.runs.callbacks"),  # networks join at times that a run keeps
    ("ganzoo.recipes.entries", "ganzoo.domains"),  # the schema of `data` is the domain's, found by its name
    ("ganzoo.zoo.load", "ganzoo.runs.checkpoints"),  # a run may have newer weights than its preset
    ("ganzoo.zoo.load", "ganzoo.runs.class_names"),
}


def modules():
    """The path of every module, by its name."""
    found = {}
    for folder, package in (("ganzoo", "ganzoo"), ("export", "ganzoo.export")):
        for path in (TOP / folder).rglob("*.py"):
            parts = path.relative_to(TOP / folder).with_suffix("").parts
            found[".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def imports(name, path, known):
    """What a module imports, inside functions too, but not for type hints alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    hints = {id(node) for check in checks for node in ast.walk(check)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in hints:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            own = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            base = ".".join([*own[: len(own) - node.level + 1], *([node.module] if node.module else [])])
            base = base if node.level else node.module
            found |= {full if (full := f"{base}.{alias.name}") in known else base for alias in node.names}
    return {module for module in found if module in known and module != name}


KNOWN = modules()
GRAPH = {name: imports(name, path, KNOWN) for name, path in KNOWN.items()}


def row(module):
    first = module.removeprefix("ganzoo").lstrip(".").split(".")[0]
    return next(index for index, folders in enumerate(ROWS) if first in folders)


def test_imports_point_one_way():
    upwards = {(name, other) for name, others in GRAPH.items() for other in others if row(other) > row(name)}
    assert upwards == UPWARDS


def test_no_module_imports_one_that_imports_it():
    left = dict(GRAPH)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left  # what is left is in a cycle, or imports one


def test_few_modules_lie_directly_in_the_package():
    assert len(list((TOP / "ganzoo").glob("*.py"))) <= 10
