"""How files in a folder or a zip are arranged: what is read of them, and which class each one has.

This is the only place that decides it: `ganzoo data`, `ganzoo doctor` and training all read through it, and so see the
same classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from ganzoo.data.images.decode import EXTENSIONS
from ganzoo.data.images.image_file import ImageFile
from ganzoo.data.images.labels import LABEL_FILES, Table, match, read_table
from ganzoo.data.images.limits import MAX_LABEL_FILE, read_whole
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.names import listed, natural_key
from ganzoo.data.sample_set import Problem
from ganzoo.errors import DataError
from ganzoo.printing import printable

IN_FOLDERS = 0.75  # the share of the images that must lie in class folders
_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_OTHER = {
    *(
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".pdf",
        ".svg",
        ".yaml",
        ".yml",
    ),
    *(".py", ".ipynb", ".m", ".sh", ".mat", ".npy", ".npz", ".pkl", ".pt", ".pth", ".safetensors", ".h5", ".hdf5"),
    *(".parquet", ".tfrecord", ".zip", ".tar", ".gz", ".7z", ".rar", ".db", ".ini", ".log", ".cache"),
    *(".mp4", ".avi", ".mov", ".wav", ".mp3", ".doc", ".docx", ".xls", ".xlsx"),
}


@dataclass
class Arrangement:
    """What is to be read.

    Attributes:
        files: the candidates.
        labels: the label of each file by its path: a name, or a class's own number (`numbered`); None without classes.
        numbered: whether labels are the numbers of classes.
        problems: what is left out although it may be an image, and why.
        notes: what was decided.
        classes: the names of the folders that are classes, those without images too; empty where no folders are.
    """

    files: list[ImageFile]
    labels: dict[str, str | int] | None = None
    numbered: bool = False
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)

    def class_notes(self, given: Sequence[str | int]) -> list[str]:
        """Which folders became classes, and which classes are missing, from the labels of all images that were read."""
        notes, read = [], set(given)
        if self.classes:
            kept = [name for name in self.classes if name in read]
            notes.append(f"{_sub_folders(len(kept))} read as classes: {listed(kept)}")
        arranged = self.classes or sorted(map(str, set((self.labels or {}).values()) - read), key=natural_key)
        missing = [] if self.numbered else [name for name in arranged if name not in read]
        if missing:
            what = _sub_folders(len(missing)) if self.classes else f"{len(missing):,} class" + "es" * (len(missing) > 1)
            notes.append(f"{what} without a readable image, so left out of the classes: {listed(missing)}")
        return notes


def _sub_folders(count: int) -> str:
    return f"{count:,} sub-folder" + ("" if count == 1 else "s")


def arrange(files: Sequence[ImageFile], options: ImageOptions, source: str, folders: Sequence[str] = ()) -> Arrangement:
    """Decides what is read of `files` (sorted by path), and which class each has.

    `source` ends with the path of the data, `folders` are the paths of all folders in them.

    1. Folders around everything (`images/cat/...`, `images/dog/...`) say nothing.
    2. Folders named `train`, `val` (`valid`, `validation`, `dev`) and `test`, two or more of them, are parts of the
       data: that of `options.split` is read.
    3. With `options.labelled`, a file of labels (`LABEL_FILES`) gives the classes. Without one, the folders at the top
       are classes where there are two or more of them and at least three quarters of the images lie in them.

    Raises:
        DataError: there is no such split, or a file of labels is broken.
    """
    tables = [file for file in files if file.path.rsplit("/", 1)[-1].lower() in LABEL_FILES]
    names = {file.path for file in tables}
    found = Arrangement([file for file in files if file.path not in names])
    likely = [file.path for file in found.files if _may_be_image(file.path)]
    heads = _choose_split(found, likely, options, source)
    inner = {file.path: _below(file.path, heads) for file in found.files}
    if not options.labelled:
        folders = len({rest.split("/", 1)[0] for path, rest in inner.items() if "/" in rest and _may_be_image(path)})
        if folders:
            plural = "" if folders == 1 else "s"
            found.notes.append(f"{folders:,} sub-folder{plural} read as one set, without classes")
        return found
    if not _labels_from_files(found, tables, source):
        _labels_from_folders(found, inner)
        if found.classes:
            below = (path[len(head) :].split("/", 1)[0] for head in heads for path in folders if path.startswith(head))
            found.classes = sorted({*found.classes, *below} - {""}, key=natural_key)
    return found


def _may_be_image(path: str) -> bool:
    """Whether a file may be an image by its name: one with another well-known suffix is none."""
    name = path.rsplit("/", 1)[-1]
    suffix = "." + name.rsplit(".", 1)[-1].lower() if "." in name else ""
    return suffix in EXTENSIONS or suffix not in _OTHER


def common_folder(paths: Sequence[str]) -> str:
    """The path of the folders that all `paths` share ("a/b/"), or ""."""
    if not paths:
        return ""
    low, high = min(paths), max(paths)
    end = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[: low.rfind("/", 0, end) + 1]


def _below(path: str, heads: Sequence[str]) -> str:
    """A path without that of `heads` which it begins with; only its name where it lies outside of them."""
    head = next((head for head in heads if path.startswith(head)), None)
    return path.rsplit("/", 1)[-1] if head is None else path[len(head) :]


def _choose_split(found: Arrangement, likely: list[str], options: ImageOptions, source: str) -> list[str]:
    """Keeps the files of the wanted split alone; the folders ("a/train/") below which folders may be classes."""
    wrapper = common_folder(likely)
    tops = Counter(path[len(wrapper) :].split("/", 1)[0] for path in likely if "/" in path[len(wrapper) :])
    splits = {folder: _SPLITS[folder.lower()] for folder in tops if folder.lower() in _SPLITS}
    if len(set(splits.values())) < 2:
        own = PurePath(source).stem  # of "the folder /data/val" or "the zip /data/val.zip"
        around = {_SPLITS.get(part.lower()) for part in (own, *wrapper.split("/"))}
        if options.split in ("val", "test") and options.split not in around:
            raise DataError(
                f"There is no part '{options.split}' in {source}: expected folders named train, val and test, or two "
                f"of them. Received: {listed(sorted(tops, key=natural_key)) or 'no folders'}. Set the split to 'train' "
                "(data.split, `ganzoo data --split`), which reads everything where there are no such folders."
            )
        return [wrapper]
    chosen = [folder for folder, kind in splits.items() if options.split in ("all", kind)]
    if not chosen:
        raise DataError(
            f"There is no part '{options.split}' in {source}. Its parts are {', '.join(sorted(set(splits.values())))}: "
            "choose one (data.split, `ganzoo data --split`), or 'all'."
        )
    heads = [f"{wrapper}{folder}/" for folder in chosen]
    found.files = [file for file in found.files if file.path.startswith(tuple(heads))]
    below = [_below(path, heads) for path in likely if path.startswith(tuple(heads))]
    counts = ", ".join(f"{printable(folder)} ({tops[folder]:,} files)" for folder in sorted(splits))
    found.notes.append(f"folders that are parts of the data: {counts}; read: {options.split}")
    others = len(likely) - sum(tops[folder] for folder in splits)
    if others:
        found.notes.append(f"{others:,} images outside these folders are left out")
    shared = common_folder(below)
    return [head + shared for head in heads]


def _labels_from_files(found: Arrangement, tables: Sequence[ImageFile], source: str) -> bool:
    """Takes labels from files of labels, if there are any; whether there were."""
    paths = [file.path for file in found.files]
    read: list[Table] = []
    for file in tables:
        table = _read(file, source)
        folder = file.path.rsplit("/", 1)[0] + "/" if "/" in file.path else ""
        if table is None:
            found.notes.append(f"{printable(file.path)} has no columns for a file's name and its label: not used")
        elif any(path.startswith(folder) for path in paths):
            read.append(table)
    read = [table for table in read if table.rows] or read
    if not read:
        return False
    if not any(table.rows for table in read):
        found.notes.append(f"{printable(read[0].name)} has no labels: no classes")
        return True
    labels: dict[str, str | int] = {}
    for table in read:
        if table.numbered != read[0].numbered:
            found.notes.append(
                f"{printable(table.name)} is not used: the labels are those of {printable(read[0].name)}"
            )
            continue
        own, missing = match(table, paths)
        labels |= own
        found.notes.append(f"labels from {printable(table.name)}")
        if missing:
            found.notes.append(f"{missing:,} lines of {printable(table.name)} name no image of the data")
    unlabelled = [file for file in found.files if file.path not in labels]
    found.problems += [Problem(file.path, "has no label") for file in unlabelled if _may_be_image(file.path)]
    found.files = [file for file in found.files if file.path in labels]
    found.labels, found.numbered = labels, read[0].numbered
    return True


def _read(file: ImageFile, source: str) -> Table | None:
    what = f"The file of labels {printable(file.path)} of {source}"
    try:
        with file.content() as opened:
            data = read_whole(opened, MAX_LABEL_FILE, what)
    except DataError:
        raise
    except (Exception, RecursionError) as error:
        raise DataError(f"{what} cannot be read: {error}.") from error
    return read_table(file.path, data)


def _labels_from_folders(found: Arrangement, inner: dict[str, str]) -> None:
    """Takes the folders at the top as classes where the rule says so."""
    inside = {path: rest.split("/", 1)[0] for path, rest in inner.items() if "/" in rest}
    likely = [path for path in inner if _may_be_image(path)]
    within = [path for path in likely if path in inside]
    names = sorted({inside[path] for path in within}, key=natural_key)
    if len(names) >= 2 and len(within) >= IN_FOLDERS * len(likely):
        found.labels = dict(inside)
        found.problems += [
            Problem(path, "is outside the class folders") for path, rest in inner.items() if "/" not in rest
        ]
        found.files = [file for file in found.files if file.path in inside]
        found.classes = names
    elif not names:
        found.notes.append("no classes: the images are in no sub-folders, and there is no file of labels")
    else:
        plural = "" if len(names) == 1 else "s"
        found.notes.append(
            f"{len(names):,} sub-folder{plural}, but no classes: {len(within):,} of {len(likely):,} images are in "
            f"sub-folders (classes are two or more folders with at least {IN_FOLDERS:.0%} of the images)"
        )
