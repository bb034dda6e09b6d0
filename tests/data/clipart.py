"""Clip art of things, from Debian's `openclipart-png` (public domain), as a folder to train on.

    python tests/data/clipart.py FOLDER

Shapes, flags, maps, signs, desktop icons, playing cards and the like are left out; version 0.18+dfsg-19
has 2,750 such images.
"""

import re
import sys
from pathlib import Path

ROOT = Path("/usr/share/openclipart/png")
LEFT_OUT = re.compile(
    "^(shapes|special|unsorted/duplicates|computer/icons|signs_and_symbols|geography)/"
    "|/(flags|cards|games|led|diagrams|patterns|gradients|buttons|stickmen|jigsaw|flowchart)/"
)


def link_clipart(folder: str | Path, root: Path = ROOT) -> list[Path]:
    """Make links to the images in `folder`, flat and named in order; the links' paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted(path for path in root.rglob("*.png") if not LEFT_OUT.search(path.relative_to(root).as_posix()))
    links = [folder / f"{index:04d}_{path.name}" for index, path in enumerate(chosen)]
    for link, path in zip(links, chosen, strict=True):
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return links


if __name__ == "__main__":
    print(f"{len(link_clipart(sys.argv[1])):,} images")
