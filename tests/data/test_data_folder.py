import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bad_images import BLUE, RED, WHITE, corner, make_bad, make_odd, noise
from PIL import Image

from ganzoo.data.images import ImageOptions, image_files, load_images
from ganzoo.data.images.image_files import ImageFile
from ganzoo.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    return folder, make_bad(folder)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    return folder, make_odd(folder)


def by_name(sample_set):
    return {original.path: sample for original, sample in zip(sample_set.originals, sample_set.samples, strict=True)}


def test_bad_images_are_skipped_with_their_reasons(tmp_path):
    mixed = tmp_path / "mixed"
    expected = make_bad(mixed)
    if "secret.png" not in expected:
        (mixed / "secret.png").unlink()
    corner().save(mixed / "good.png")
    corner().save(mixed / "folder.png" / "inside.png")
    started = time.monotonic()
    found = load_images(mixed, ImageOptions(16))
    assert time.monotonic() - started < 20
    assert [original.path for original in found.originals] == ["folder.png/inside.png", "good.png"]
    problems = dict(found.problems)
    assert set(problems) == set(expected)
    assert len(problems) == len(found.problems) >= 20
    for path, reason in problems.items():
        assert reason.startswith(expected[path]), (path, reason)
    assert "3,600,000,000" in problems["bomb.png"]
    assert f"{len(problems)} files skipped" in found.notes


def test_a_folder_without_a_readable_image_is_an_error_with_counts(bad):
    folder, expected = bad
    if "secret.png" not in expected:
        (folder / "secret.png").unlink(missing_ok=True)
    with pytest.raises(DataError) as error:
        load_images(folder, ImageOptions(16))
    text = str(error.value)
    assert str(folder) in text and f"{len(expected)} files were skipped" in text
    assert "a named pipe" in text and "2 not an image" not in text and "not an image" in text
    assert "Give a folder or a zip" in text


def test_an_empty_folder_and_a_missing_one(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it is empty"):
        load_images(tmp_path / "empty", ImageOptions(16))
    with pytest.raises(DataError, match="no file or folder"):
        load_images(tmp_path / "missing", ImageOptions(16))
    with pytest.raises(DataError, match="Did you mean 'mnist5k'"):
        load_images("mnist", ImageOptions(16))
    with pytest.raises(DataError, match="neither a file nor a folder"):
        load_images("/dev/null", ImageOptions(16))


def test_no_permission_is_a_reason():
    def refuse():
        raise PermissionError(13, "Permission denied")

    problem, passing = image_files._try(ImageFile("a.png", refuse), ImageOptions(16))
    assert problem == ("a.png", "no permission to read it") and passing


def test_odd_images_are_read_as_they_look(odd):
    folder, names = odd
    found = load_images(folder, ImageOptions(64))
    assert found.problems == [] and found.labels is None
    images = by_name(found)
    assert set(images) == names and list(images) == sorted(names)

    exact = ["plain.png", "plain.bmp", "plain.tiff", "plain.webp", "plain.gif", "png_named.jpg", "no_extension"]
    for name in [*exact, "rotated.png", "rotated.tif"]:
        np.testing.assert_array_equal(images[name], np.asarray(corner()), err_msg=name)
    for name in ["plain.jpeg", "rotated.jpg", "bad_exif.jpg"]:
        for (row, column), colour in {(4, 4): RED, (4, 60): BLUE, (60, 4): BLUE, (60, 60): BLUE}.items():
            assert np.abs(images[name][row, column].astype(int) - colour).max() < 12, name

    # Transparent parts are white, whatever colour hides in them, and outlines are mixtures of black and white only.
    for name in ["alpha.png", "alpha_large.png", "grey_alpha.png"]:
        assert (images[name][:, :31] >= 254).all() and (images[name][:, 33:] <= 1).all(), name
        assert np.ptp(images[name].astype(int), axis=-1).max() == 0, name
    assert (images["palette.png"][:, :32] == WHITE).all() and (images["palette.png"][:, 32:] == BLUE).all()

    grey = images["grey_16.png"]
    assert (grey[:32, :32] == 128).all() and (grey[32:, :32] == 0).all() and (grey[:, 32:] == 255).all()
    assert (images["one_bit.png"] == 255).all()
    assert np.abs(images["cmyk.jpg"].astype(int) - RED).max() < 12
    for name in ["animated.gif", "animated.webp", "animated.png", "one_pixel.png", "line.png"]:
        assert (images[name] == RED).all(), name
    assert any(note.startswith("3 files with several images") for note in found.notes)
    assert "2 images smaller than 64 px enlarged" in found.notes


def test_sizes_of_the_originals_are_those_one_sees(odd):
    folder, _ = odd
    sizes = {original.path: original[1:] for original in load_images(folder, ImageOptions(8)).originals}
    assert sizes["large.jpg"] == (1600, 1200, "RGB") and sizes["oblong.png"] == (128, 64, "RGB")
    assert sizes["cmyk.jpg"][2] == "CMYK" and sizes["line.png"][:2] == (1, 5000)


def test_crop_pad_and_background(odd):
    folder, _ = odd
    cropped = by_name(load_images(folder, ImageOptions(32)))["oblong.png"]
    assert tuple(cropped[4, 4]) == RED and tuple(cropped[4, 28]) == BLUE  # the middle 64 x 64 of 128 x 64, halved
    padded = by_name(load_images(folder, ImageOptions(32, fit="pad", background="#010203")))
    image = padded["oblong.png"]
    assert (image[:8] == (1, 2, 3)).all() and (image[24:] == (1, 2, 3)).all()
    assert tuple(image[10, 4]) == RED and tuple(image[10, 28]) == BLUE
    assert (padded["line.png"][:, 16 - 1 : 16 + 1] == RED).all(-1).any(-1).all()  # one column of the 32
    assert ((padded["line.png"] == RED).all(-1).sum(1) == 1).all()
    assert (padded["alpha.png"][:, :14] == (1, 2, 3)).all()
    grey = by_name(load_images(folder, ImageOptions(32, channels=1)))["plain.png"]
    assert grey.shape == (32, 32, 1) and grey[4, 4, 0] == 76 and grey[28, 28, 0] == 29  # 0.299 and 0.114 of 255


def test_reduction_does_not_alias(tmp_path):
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    small = load_images(tmp_path, ImageOptions(32)).samples
    assert np.abs(small[:, 2:-2, 2:-2].astype(int) - 127.5).max() < 3


def test_folders_are_classes_only_where_the_entry_is_labelled(tmp_path):
    for name in ["dog/1.png", "cat/2.png", "cat/deep/3.png", "0.png"]:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        corner().save(path)
    one = load_images(tmp_path / "set", ImageOptions(16))
    assert len(one) == 4 and one.labels is None and one.class_names == () and one.class_counts == {}
    assert "2 sub-folders read as one set, without classes" in one.notes
    some = load_images(tmp_path / "set", ImageOptions(16, labelled=True))
    assert some.class_names == ("cat", "dog") and some.labels.tolist() == [0, 0, 1] and some.labels.dtype == np.int32
    assert some.class_counts == {"cat": 2, "dog": 1}
    assert some.problems == [("0.png", "is outside the class folders")]
    assert some.notes[0] == "2 sub-folders read as classes: cat, dog"
    flat = load_images(tmp_path / "set" / "dog", ImageOptions(16, labelled=True))
    assert flat.labels is None and "no classes" in flat.notes[0]


def test_linked_folders_are_read_once(tmp_path):
    (tmp_path / "set" / "z").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    corner().save(tmp_path / "set" / "z" / "1.png")
    corner().save(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "set" / "a").symlink_to("z")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    found = load_images(tmp_path / "set", ImageOptions(16))
    assert [original.path for original in found.originals] == ["b/2.png", "z/1.png"]
    assert [problem.path for problem in found.problems] == ["a", "b/back"]


def test_decoded_once_then_cached_until_something_changes(tmp_path, cache, monkeypatch):
    folder = tmp_path / "set"
    folder.mkdir()
    for index in range(3):
        noise(32, index).save(folder / f"{index}.png")
    (folder / "bad.png").write_bytes(b"")
    decoded = []
    original = image_files.decode_image
    monkeypatch.setattr(
        image_files,
        "decode_image",
        lambda file, path, *rest: decoded.append(path) or original(file, path, *rest),
    )
    first = load_images(folder, ImageOptions(16))
    assert len(decoded) == 4 and len(list((cache / "data").iterdir())) == 2
    again = load_images(folder, ImageOptions(16))
    assert len(decoded) == 4 and again.problems == first.problems and again.originals == first.originals
    assert again.notes == first.notes and again.fingerprint == first.fingerprint
    monkeypatch.setattr(image_files, "MEMORY_MAPPED_FROM", 1)
    mapped = load_images(folder, ImageOptions(16))
    assert len(decoded) == 4 and isinstance(mapped.samples, np.memmap) and mapped.fingerprint == first.fingerprint
    load_images(folder, ImageOptions(8))
    assert len(decoded) == 8
    noise(32, 9).save(folder / "1.png")
    changed = load_images(folder, ImageOptions(16))
    assert len(decoded) == 12 and changed.fingerprint != first.fingerprint
    for file in (cache / "data").glob("*.u8"):  # a cut file is not believed
        os.truncate(file, 100)
    assert load_images(folder, ImageOptions(16)).fingerprint == changed.fingerprint


def test_damaged_cached_pixels_are_decoded_again(tmp_path, cache, caplog):
    (tmp_path / "set").mkdir()
    noise(32, 0).save(tmp_path / "set" / "1.png")
    first = load_images(tmp_path / "set", ImageOptions(16))
    (pixels,) = (cache / "data").glob("*.u8")
    (facts,) = (cache / "data").glob("*.json")
    content = bytearray(pixels.read_bytes())
    content[5] ^= 64  # of the same size
    pixels.write_bytes(content)
    assert load_images(tmp_path / "set", ImageOptions(16)).fingerprint == first.fingerprint
    assert "are damaged" in caplog.text and pixels.read_bytes() == first.samples.tobytes()
    facts.write_text(facts.read_text().replace("1.png", "2.png"))
    assert load_images(tmp_path / "set", ImageOptions(16)).originals == first.originals


def test_without_a_writable_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file" / "below"))
    (tmp_path / "set").mkdir()
    corner().save(tmp_path / "set" / "1.png")
    found = load_images(tmp_path / "set", ImageOptions(64))
    np.testing.assert_array_equal(found.samples[0], np.asarray(corner()))


def test_progress_is_told(tmp_path):
    corner().save(tmp_path / "1.png")
    told = []
    load_images(tmp_path, ImageOptions(16), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (1, 1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"background": "blurple"}, "Received: 'blurple'"),
        ({"background": "#ff000080"}, "must be opaque"),
        ({"background": None}, "needs quotes"),
        ({"fit": "stretch"}, "Unknown fit 'stretch'"),
        ({"size": 0}, "Received: 0"),
        ({"size": 64.0}, "Received: 64.0"),
        ({"channels": 4}, "Received: 4"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(DataError, match=text):
        ImageOptions(**options)


@pytest.mark.skipif(not Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf").exists(), reason="needs the font")
def test_emoji(tmp_path):
    pytest.importorskip("fontTools")
    from emoji import extract_emoji

    written = extract_emoji(tmp_path / "emoji", 64, limit=20)
    read = partial(load_images, tmp_path / "emoji")
    white, black = read(ImageOptions(64)), read(ImageOptions(64, background="black"))
    assert len(written) == len(white) == 20 and white.problems == []
    assert (white.samples[:, 0, 0] == 255).all() and (black.samples[:, 0, 0] == 0).all()
    assert (white.samples >= black.samples).all()
