import json

import numpy as np
import pydantic
import pytest
from bad_images import BLUE, RED, corner
from PIL import Image

from ganzoo.data.images import ImageOptions
from ganzoo.data.images.description import describe_data
from ganzoo.domains import get_domain, image, list_domains
from ganzoo.errors import DataError, RecipeError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


def test_domains_by_name():
    assert get_domain("image") is image and "image" in list_domains()
    with pytest.raises(RecipeError, match="Did you mean 'image'"):
        get_domain("images")


def test_units_there_and_back():
    import tensorflow as tf

    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    unit = image.to_unit(every)
    assert unit.dtype == np.float32 and unit.min() == -1 and unit.max() == 1
    np.testing.assert_array_equal(image.from_unit(unit), every)
    np.testing.assert_array_equal(image.to_unit(tf.constant(every)).numpy(), unit)
    np.testing.assert_array_equal(image.from_unit(tf.constant(unit)).numpy(), every)
    odd = np.array([-3, -1, -0.999, 0, 1, 7, np.nan, np.inf, -np.inf], np.float32)
    assert image.from_unit(odd).tolist() == [0, 0, 0, 128, 255, 255, 0, 255, 0]
    assert image.from_unit(tf.constant(odd)).numpy().tolist() == [0, 0, 0, 128, 255, 255, 0, 255, 0]
    assert image.to_unit(unit) is not None and (image.to_unit(unit) == unit).all()


def test_the_recipes_schema():
    assert image.Options(size=32, background="#ffe0c0").flip is False
    for wrong in ({"background": "blurple"}, {"sise": 3}, {"channels": 2}, {"size": "32"}, {"fit": "stretch"}):
        with pytest.raises(pydantic.ValidationError):
            image.Options(**wrong)


def test_read_by_a_recipe(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        corner((64, 32)).save(tmp_path / "set" / name / "1.png")
    plain = image.read(tmp_path / "set", image.Options(size=16, channels=1))
    assert plain.samples.shape == (2, 16, 16, 1) and plain.labels is None
    padded = image.read(tmp_path / "set", {"size": 16, "fit": "pad", "background": "red"}, conditional=True)
    assert padded.class_names == ("a", "b") and tuple(padded.samples[0, 0, 0]) == RED
    assert image.read(tmp_path / "set", image.Options(size=16), conditional=True).labels.tolist() == [0, 1]
    (tmp_path / "set" / "a").rename(tmp_path / "set" / "train")
    (tmp_path / "set" / "b").rename(tmp_path / "set" / "test")
    corner((64, 32)).save(tmp_path / "set" / "test" / "2.png")
    assert len(image.read(tmp_path / "set", image.Options(size=16))) == 1
    assert len(image.read(tmp_path / "set", image.Options(size=16, split="test"))) == 2


def test_grids(tmp_path):
    images = np.zeros((5, 32, 32, 3), np.uint8)
    images[3] = BLUE
    sheet = image.grid(images, columns=3)
    assert sheet.mode == "RGB" and sheet.size == (3 * 98 + 2, 2 * 98 + 2)  # each pixel becomes 3 x 3
    assert sheet.getpixel((50, 150)) == BLUE and sheet.getpixel((50, 50)) == (0, 0, 0)
    assert sheet.getpixel((0, 0)) == sheet.getpixel((280, 150)) == (255, 255, 255)
    assert image.grid(images[..., :1]).mode == "L"
    labelled = image.grid(images, columns=3, labels=["a very long label indeed", 1, 2, 3, 4])
    assert labelled.height == sheet.height + 2 * 14 and np.asarray(labelled)[98:112, 2:98].min() < 128
    assert image.grid(np.zeros((400, 64, 64, 3), np.uint8)).width == 20 * 66 + 2
    path = image.save_grid(tmp_path / "new" / "grid.png", images)
    assert Image.open(path).size == image.grid(images).size and [p.name for p in path.parent.iterdir()] == ["grid.png"]
    for wrong in (images.astype(np.float32), images[0], images[:0], images[..., :2]):
        with pytest.raises(DataError, match="A grid shows"):
            image.grid(wrong)
    with pytest.raises(DataError, match="as many labels"):
        image.grid(images, labels=["a"])


def test_a_description(tmp_path):
    folder = tmp_path / "set"
    for name, size in {"cat/1.png": (64, 64), "cat/2.png": (64, 64), "dog/3.png": (128, 64)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        corner(size).save(folder / name)
    corner((64, 64)).convert("L").save(folder / "dog" / "4.png")
    (folder / "dog" / "5.png").write_bytes(b"")
    report = describe_data(folder, ImageOptions(32, labelled=True))
    facts = json.loads(json.dumps(report.to_dict()))
    assert facts["count"] == 4 and facts["classes"] == {"cat": 2, "dog": 2} and facts["shape"] == [32, 32, 3]
    assert facts["widths"] == {"min": 64, "median": 64, "max": 128} and facts["heights"]["max"] == 64
    assert facts["aspect_ratios"]["max"] == 2 and facts["modes"] == {"RGB": 3, "L": 1} and facts["duplicates"] == 2
    assert facts["problems"] == [{"path": "dog/5.png", "reason": "empty (0 bytes)"}]
    table = report.table()
    assert "cat (2), dog (2)" in table and "dog/5.png: empty (0 bytes)" in table and "32 x 32, colour, crop" in table
    assert Image.open(report.contact_sheet(tmp_path / "sheet.png")).size == (2 * 98 + 2, 2 * 112 + 2)
    again = describe_data(report.sample_set, ImageOptions(32, labelled=True))
    assert again.to_dict() == report.to_dict()
    many = describe_data(np.zeros((1000, 8, 8), np.uint8), ImageOptions(8))
    assert many.duplicates == 999 and Image.open(many.contact_sheet(tmp_path / "many.png")).size == (8 * 98 + 2,) * 2
