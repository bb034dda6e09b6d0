"""Which images have which class: files of labels, folders, wrappers, parts of the data, and names."""

import json
import zipfile

import numpy as np
import pytest
from bad_images import corner, encode
from PIL import Image

from ganzoo.commands.doctor import examine
from ganzoo.data.images import ImageOptions, load_images
from ganzoo.data.images.description import describe_data
from ganzoo.data.images.image_grid import font_for, grid
from ganzoo.data.names import class_names, natural_key
from ganzoo.errors import DataError
from ganzoo.printing import printable
from ganzoo.runs.data import describe

PNG = encode(corner((8, 8)), "PNG")
LABELLED = ImageOptions(8, labelled=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["folder", "zip"])
def make(request, tmp_path):
    """Writes files as a folder or as a zip; strings are texts, None is an image."""

    def write(files, name="data"):
        content = {path: PNG if text is None else text.encode() for path, text in files.items()}
        if request.param == "zip":
            with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
                for path, data in content.items():
                    archive.writestr(path, data)
            return tmp_path / f"{name}.zip"
        for path, data in content.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        return tmp_path / name

    return write


def classes(found):
    """The class name of each image, by the last part of its path."""
    names = [found.class_names[label] for label in found.labels]
    return {original.path.rsplit("/", 1)[-1]: name for original, name in zip(found.originals, names, strict=True)}


STYLE_GAN = {f"0000{i // 2}/img{i}.png": None for i in range(4)}


def test_stylegan_labels_are_read_and_its_index_folders_are_no_classes(make):
    labels = [[path, (i * 2) % 3] for i, path in enumerate(STYLE_GAN)]
    found = load_images(make(STYLE_GAN | {"dataset.json": json.dumps({"labels": labels})}), LABELLED)
    assert found.labels.tolist() == [0, 2, 1, 0] and found.class_names == ("0", "1", "2")
    assert "labels from dataset.json" in found.notes and not found.problems
    none = load_images(make(STYLE_GAN | {"dataset.json": '{"labels": null}'}, "none"), LABELLED)
    assert len(none) == 4 and none.labels is None and "dataset.json has no labels: no classes" in none.notes
    wrapped = {f"download/{path}": text for path, text in STYLE_GAN.items()}
    wrapped["download/dataset.json"] = json.dumps({"labels": dict(labels)})  # some tools write a mapping
    assert load_images(make(wrapped, "wrapped"), LABELLED).labels.tolist() == [0, 2, 1, 0]
    assert load_images(make(wrapped, "wrapped"), ImageOptions(8)).labels is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,text,label\nb/1.png,one,dog\n2.png,two,cat\n10.png,ten,dog\n"),
        ("labels.csv", "id;breed;class\n1;x;dog\n2;y;cat\n10;z;dog\n"),
        ("labels.csv", "b/1.png,dog\n2.png,cat\n10.png,dog\n"),
        ("metadata.csv", '\ufefffile_name,label\r\nb/1.png,dog\r\n2.png,"cat"\r\n10.png,dog\r\n'),
        (
            "metadata.jsonl",
            '{"file_name": "b/1.png", "label": "dog"}\n{"file_name": "2.png", "label": "cat"}\n'
            '{"file_name": "10.png", "label": "dog"}\n',
        ),
    ],
)
def test_tables_of_labels(make, name, text):
    found = load_images(make({"b/1.png": None, "2.png": None, "10.png": None, name: text}), LABELLED)
    assert classes(found) == {"1.png": "dog", "2.png": "cat", "10.png": "dog"} and found.class_names == ("cat", "dog")
    assert f"labels from {name}" in found.notes and not found.problems


def test_tables_with_gaps_and_without_labels(make):
    files = {f"{name}.png": None for name in "abc"}
    found = load_images(make(files | {"labels.csv": "file,label\na.png,1\nb.png,2\nd.png,1\n"}), LABELLED)
    assert found.class_names == ("1", "2") and found.problems == [("c.png", "has no label")]
    assert "1 lines of labels.csv name no image of the data" in found.notes
    assert any("'1' is class 0, '2' is class 1" in note for note in found.notes)
    found = load_images(make(files | {"metadata.csv": "file_name,caption\na.png,x\n"}, "captions"), LABELLED)
    assert len(found) == 3 and found.labels is None and any("no columns for a file's name" in n for n in found.notes)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("dataset.json", "{", "cannot be read"),
        ("dataset.json", '{"labels": [["a.png", 0.5]]}', "whole number from 0"),
        ("dataset.json", '{"labels": [["a.png", [0, 1]]]}', "whole number from 0"),
        ("dataset.json", '{"labels": [["a.png", 99999999999]]}', "whole number from 0"),
        ("dataset.json", '{"labels": ["a.png"]}', "must hold"),
        ("dataset.json", "[" * 100_000, "cannot be read"),
        ("dataset.json", "9" * 100_000, "cannot be read"),
        ("labels.csv", "file,label\nz.png,1\n", "none of them is an image"),
        ("labels.csv", "file,label\na.png,1\na.png,2\n", "two labels, '1' and '2'"),
        ("labels.csv", "file,label\na.png\n", "too few columns"),
        ("labels.csv", "file,label\n" + "x" * 200_000 + ",1\n", "cannot be read"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": {"a": 1}}', "a name or a whole number"),
        ("metadata.jsonl", "[1]", "line 1 is no JSON object"),
    ],
)
def test_broken_files_of_labels_are_named(make, name, text, reason):
    data = make({"a.png": None, "b.png": None, name: text})
    with pytest.raises(DataError, match=reason) as error:
        load_images(data, LABELLED)
    assert name in str(error.value)
    assert len(load_images(data, ImageOptions(8))) == 2  # without classes it is not read


def test_a_file_of_labels_that_is_no_text_or_too_large(tmp_path, monkeypatch):
    from ganzoo.data.images import layout

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(PNG)
    (tmp_path / "set" / "labels.csv").write_bytes(b"file,label\na.png,caf\xe9\n")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load_images(tmp_path / "set", LABELLED)
    monkeypatch.setattr(layout, "MAX_LABEL_FILE", 10)
    with pytest.raises(DataError, match="which is the limit"):
        load_images(tmp_path / "set", LABELLED)


def test_folders_around_everything_are_no_classes(make):
    files = {"cat/1.png": None, "dog/2.png": None}
    plain = load_images(make(files, "plain"), LABELLED)
    assert plain.class_names == ("cat", "dog")
    for around in ("images/", "a/b/c/"):
        wrapped = {around + path: text for path, text in files.items()} | {"README.txt": "read me", "x.xml": "<a/>"}
        found = load_images(make(wrapped, around.replace("/", "_")), LABELLED)
        assert found.class_names == plain.class_names and found.labels.tolist() == [0, 1]
        assert found.fingerprint == plain.fingerprint
    single = load_images(make({"cat/1.png": None, "cat/2.png": None}, "single"), LABELLED)
    assert single.labels is None and len(single) == 2


@pytest.mark.parametrize("folder", ["odd", "odd/deeper"])
def test_a_folder_beside_many_images_is_no_class(make, folder):
    files = {f"{i}.png": None for i in range(24)} | {f"{folder}/{i}.png": None for i in range(3)}
    data = make(files)
    found, facts = load_images(data, LABELLED), examine(str(data), trial=0)
    assert len(found) == facts["count"] == 27 and found.labels is None and facts["classes"] == {}
    assert facts["skipped"] == 0 and describe_data(data, LABELLED).count == 27
    assert any("1 sub-folder, but no classes: 3 of 27 images" in note for note in found.notes)


def test_at_least_three_quarters_of_the_images_lie_in_class_folders(make):
    inside = {f"{name}/{i}.png": None for name in ("a", "b") for i in range(3)}
    some = load_images(make(inside | {"x.png": None, "y.png": None}), LABELLED)
    assert some.class_names == ("a", "b") and len(some.problems) == 2  # 6 of 8
    more = load_images(make(inside | dict.fromkeys(("x.png", "y.png", "z.png")), "more"), LABELLED)
    assert more.labels is None and len(more) == 9 and not more.problems


SPLITS = {
    f"{split}/{name}/{split}{i}.png": None for split in ("train", "valid", "test") for name in "ab" for i in (0, 1)
}


def test_parts_of_the_data(make):
    data = make({f"all/{path}": text for path, text in SPLITS.items()} | {"all/train/a/more.png": None})
    train = load_images(data, LABELLED)
    assert len(train) == 5 and train.class_names == ("a", "b")
    assert any("train (5 files)" in note and "read: train" in note for note in train.notes)
    for split in ("val", "test"):
        part = load_images(data, ImageOptions(8, labelled=True, split=split))
        assert len(part) == 4 and part.class_names == ("a", "b")
    everything = load_images(data, ImageOptions(8, labelled=True, split="all"))
    assert len(everything) == 13 and everything.class_names == ("a", "b")
    flat = make({"train/1.png": None, "train/2.png": None, "test/3.png": None}, "flat")
    assert len(load_images(flat, ImageOptions(8))) == 2
    with pytest.raises(DataError, match="Its parts are test, train"):
        load_images(flat, ImageOptions(8, split="val"))
    plain = make({"a/1.png": None, "b/2.png": None, "train/3.png": None}, "toys")  # a class called "train"
    assert load_images(plain, LABELLED).class_names == ("a", "b", "train")
    with pytest.raises(DataError, match=r"expected folders named train.*Received: a, b, train"):
        load_images(plain, ImageOptions(8, split="test"))
    with pytest.raises(DataError, match=r"Unknown split 'tset'. Did you mean 'test'"):
        ImageOptions(8, split="tset")


def test_parts_of_arrays_and_idx_files(tmp_path):
    train, test = np.zeros((3, 8, 8), np.uint8), np.full((2, 8, 8), 200, np.uint8)
    np.savez(tmp_path / "keras.npz", x_train=train, y_train=[0, 1, 0], x_test=test, y_test=[1, 0])
    np.savez(tmp_path / "medmnist.npz", train_images=train, train_labels=[[0], [1], [0]], test_images=test)
    for name in ("keras.npz", "medmnist.npz"):
        assert len(load_images(tmp_path / name, LABELLED)) == 3
        assert load_images(tmp_path / name, ImageOptions(8, split="test")).samples.max() == 200
        assert len(load_images(tmp_path / name, ImageOptions(8, split="all"))) == 5
        with pytest.raises(DataError, match=r"no images of the part 'val'"):
            load_images(tmp_path / name, ImageOptions(8, split="val"))


def test_data_without_parts_have_no_test_images(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), np.uint8))
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8))
    for data in (tmp_path / "a.npy", tmp_path / "a.npz", np.zeros((2, 8, 8), np.uint8), "mnist5k"):
        with pytest.raises(DataError, match="has no parts, so that there is no 'test'"):
            load_images(data, ImageOptions(8, split="test"))
        assert len(load_images(data, ImageOptions(8, split="all"))) >= 2


def test_classes_are_in_natural_order(make):
    names = ["10", "2", "1", "b10", "b9", "a"]
    found = load_images(make({f"{name}/{name}.png": None for name in names}), LABELLED)
    assert found.class_names == ("1", "2", "10", "a", "b9", "b10")
    assert classes(found)["10.png"] == "10" and classes(found)["b9.png"] == "b9"
    digits = "9" * 5000  # int() refuses so many
    assert sorted([digits, "10", "010", "9"], key=natural_key) == ["9", "010", "10", digits]


def test_few_and_empty_classes_are_reported(tmp_path):
    images, labels = np.zeros((120, 8, 8), np.uint8), np.r_[np.full(60, 1), np.full(57, 3), np.full(3, 4)]
    found = load_images((images, labels), LABELLED)
    assert found.class_counts == {"0": 0, "1": 60, "2": 0, "3": 57, "4": 3}
    assert "2 classes without an image: labels start at a number above 0: 0, 2" in found.notes
    assert "1 class with fewer than 50 images: 4 (3)" in found.notes
    table = describe_data((images, labels), LABELLED).table()
    assert "0 (0), 1 (60)" in table and "without an image" in table
    with pytest.raises(DataError, match=r"numpy\.unique"):
        load_images((images, labels * 100_000), LABELLED)
    with pytest.raises(DataError, match=r"labels.argmax\(axis=1\)"):
        load_images((images, np.eye(120)), LABELLED)
    assert load_images((images, labels.astype(float)), LABELLED).labels.tolist() == labels.tolist()


def test_class_folders_without_a_readable_image_are_named(make):
    files = {f"{name}/{i}.png": None for name in "ac" for i in (0, 1)} | {"b/0.png": "broken", "b/1.png": "broken"}
    data = make(files)
    if data.suffix == ".zip":
        with zipfile.ZipFile(data, "a") as archive:
            archive.writestr("d/", b"")
    else:
        (data / "d").mkdir()
    found = load_images(data, LABELLED)
    assert found.class_names == ("a", "c") and found.labels.tolist() == [0, 0, 1, 1]
    assert "2 sub-folders read as classes: a, c" in found.notes
    assert "2 sub-folders without a readable image, so left out of the classes: b, d" in found.notes
    assert not any("without a readable image" in note for note in load_images(data, ImageOptions(8)).notes)


def test_empty_class_folders_of_a_part_are_named(tmp_path):
    for path in ("train/a", "train/b", "train/c", "test/a", "test/b", "train/a/inner"):
        (tmp_path / path).mkdir(parents=True)
        if not path.endswith(("c", "inner")):
            (tmp_path / path / "1.png").write_bytes(PNG)
    notes = load_images(tmp_path, LABELLED).notes
    assert "1 sub-folder without a readable image, so left out of the classes: c" in notes
    notes = load_images(tmp_path, ImageOptions(8, labelled=True, split="test")).notes
    assert not any("without a readable image" in note for note in notes)


def test_classes_of_a_label_file_without_a_readable_image_are_named(make):
    labels = "file_name,label\n1.png,cat\n2.png,dog\n3.png,yak\n"
    found = load_images(make({"1.png": None, "2.png": "broken", "3.png": None, "labels.csv": labels}), LABELLED)
    assert found.class_names == ("cat", "yak")
    assert "1 class without a readable image, so left out of the classes: dog" in found.notes


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_part_may_be_given_itself(make, split):
    data = make({f"{name}/1.png": None for name in "ab"}, {"val": "validation", "test": "test"}[split])
    assert len(load_images(data, ImageOptions(8, labelled=True, split=split))) == 2
    with pytest.raises(DataError, match="There is no part"):
        load_images(data, ImageOptions(8, split={"val": "test", "test": "val"}[split]))


NASTY = ["line\nbreak", "tab\there", "bell\a", "turned\u202eround", "<script>alert(1)</script>", "日本語", "e\u0301"]


def test_names_from_files_are_safe_wherever_they_are_written(tmp_path):
    for name in NASTY:
        path = tmp_path / "set" / name.replace("/", "_") / "1\n.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(PNG)
        (path.parent / "bad\r\n.png").write_bytes(b"")
    report = describe_data(tmp_path / "set", LABELLED)
    texts = [
        report.table(),
        *report.notes,
        *report.sample_set.class_names,
        *(p.path for p in report.sample_set.problems),
    ]
    assert all(text.replace("\n", "").isprintable() for text in texts)
    assert max(map(len, report.table().splitlines())) <= 80 and "line\\nbreak (1)" in report.table()
    assert "日本語" in report.classes and len(report.classes) == len(NASTY)
    assert Image.open(report.contact_sheet(tmp_path / "sheet.png")).size[0] > 100
    assert font_for(["Zoe <b>"])[1] and not font_for(["\U0010fffd"])[1]  # a letter that no font has
    assert grid(np.zeros((2, 8, 8, 3), np.uint8), labels=["a\nb\rc", "\0"]).size[0] > 0
    kept = json.loads(json.dumps(describe(report.sample_set, tmp_path / "set")))
    assert kept["class_names"] == list(report.sample_set.class_names) and sum(kept["class_counts"].values()) == 7
    assert class_names(["a\nb", "a\\nb", "c"]) == ("a\\nb", "a\\nb (2)", "c")
    assert printable("x" * 300) == "x" * 197 + "..." and printable("\udcff") == "\\udcff"
