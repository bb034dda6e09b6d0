"""Images that are equal or look equal are found, reported, and kept together by the halves of all scores."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganzoo.commands import texts
from ganzoo.commands.doctor import examine
from ganzoo.data.images import ImageOptions, load_images
from ganzoo.data.images.description import describe_data
from ganzoo.data.images.duplicates import split_in_two, twins, without_twins
from ganzoo.domains import image as images_domain
from ganzoo.domains.image import Options
from ganzoo.metrics.arrays import canonical_order
from ganzoo.metrics.scorecard import halves


@pytest.fixture(scope="module")
def digits():
    return load_images("mnist5k", ImageOptions(32)).samples


def drawings(count=60):
    """Smooth colours, 64 x 64."""
    small = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in small])


def as_jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=90)
    return np.asarray(Image.open(file))


def resized(image):
    larger = Image.fromarray(image).resize((96, 96), Image.Resampling.BICUBIC)
    return np.asarray(larger.resize((64, 64), Image.Resampling.BICUBIC))


def keys(images):
    return {image.tobytes() for image in images}


def test_equal_images_and_those_that_look_equal_are_twins():
    images = drawings()
    near = [images[:3], [as_jpeg(images[3])], [resized(images[4])], np.clip(images[5:6].astype(int) + 2, 0, 255)]
    found = twins(np.concatenate([images, *[np.asarray(one, np.uint8) for one in near]]))
    assert [group.tolist() for group in found] == [[i, 60 + i] for i in range(6)]
    other = [np.roll(images, 1, axis=2), images[:, :, ::-1], images[..., ::-1]]  # shifted, mirrored, other colours
    assert twins(np.concatenate([images, *other])) == []


def test_no_digit_is_a_twin_and_the_halves_of_the_digits_are_what_they_were(digits):
    assert twins(digits) == []
    ordered, one, other = halves(digits)
    np.testing.assert_array_equal(ordered, digits[canonical_order(digits)])
    shuffled = np.random.default_rng(0).permutation(5_000)
    np.testing.assert_array_equal(one, ordered[shuffled[:2_500]])
    np.testing.assert_array_equal(other, ordered[shuffled[2_500:]])


def test_the_halves_keep_twins_together_whatever_the_order(digits):
    images = digits[:301]
    brighter = np.clip(images[:50].astype(int) + 2, 0, 255).astype(np.uint8)
    doubled = np.concatenate([images, images[:101], brighter])
    found = [halves(doubled[np.random.default_rng(seed).permutation(len(doubled))]) for seed in range(2)]
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)
    _, one, other = found[0]
    assert len(one) == len(other) == len(doubled) // 2
    assert not keys(one) & keys(other)
    for original, copy in zip(images[:50], brighter, strict=True):
        assert (original.tobytes() in keys(one)) == (copy.tobytes() in keys(one))


def test_a_split_by_hand():
    order = np.array([4, 2, 0, 5, 1, 3])
    one, other = split_in_two(order, [])
    assert (one.tolist(), other.tolist()) == ([4, 2, 0], [5, 1, 3])
    # The group of 0 and 3 comes first, to the first half, where 4 has room; the others form the second half.
    one, other = split_in_two(order, [np.array([0, 3])])
    assert (one.tolist(), other.tolist()) == ([4, 0, 3], [2, 5, 1])
    # Three pairs do not fit into halves of three: one is left out.
    one, other = split_in_two(order, [np.array([0, 3]), np.array([1, 5]), np.array([2, 4])])
    assert (one.tolist(), other.tolist()) == ([4, 2], [0, 3])
    # A group of most images is what the set consists of: it is divided.
    one, other = split_in_two(np.arange(8), [np.arange(6)])
    assert (one.tolist(), other.tolist()) == ([0, 1, 2, 3], [4, 5, 6, 7])


def test_equal_images_all_over_can_still_be_split():
    _, one, other = halves(np.full((20, 16, 16, 3), 7, np.uint8))
    assert one.shape == other.shape == (10, 16, 16, 3)


def test_one_image_of_each_group_is_kept():
    images = drawings(10)
    assert without_twins(np.concatenate([images, images[::-1]])).tolist() == list(range(10))
    assert without_twins(images[:1]).tolist() == [0]


def test_a_folders_duplicates_are_counted_and_named(tmp_path):
    for index, image in enumerate(drawings(6)):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    Image.fromarray(drawings(6)[2]).save(tmp_path / "copy.png")
    Image.fromarray(drawings(6)[4]).save(tmp_path / "again.jpg", quality=90)
    report = describe_data(tmp_path, ImageOptions(64))
    assert (report.count, report.duplicates, report.near_duplicates) == (8, 1, 1)
    assert sorted(map(sorted, report.twins)) == [["2.png", "copy.png"], ["4.png", "again.jpg"]]
    assert report.to_dict()["near_duplicates"] == 1
    table = report.table()
    assert "exact duplicates  1" in table and "1 more look equal to an earlier image" in table
    assert "for example       2.png, copy.png" in table
    found = examine(tmp_path, trial=0)
    assert (found["exact_duplicates"], found["near_duplicates"]) == (1, 1)
    assert "1 exact, 1 near, for example 2.png, copy.png; 4.png, again.jpg" in " ".join(texts._data_text(found).split())


@pytest.mark.parametrize("dropped", [False, True])
def test_a_recipe_can_leave_duplicates_out(tmp_path, dropped):
    for index, one in enumerate(drawings(8)):
        (tmp_path / f"class_{index % 2}").mkdir(exist_ok=True)
        Image.fromarray(one).save(tmp_path / f"class_{index % 2}" / f"{index}.png")
    Image.fromarray(drawings(8)[2]).save(tmp_path / "class_0" / "copy.png")
    Image.fromarray(drawings(8)[3]).save(tmp_path / "class_1" / "saved-again.jpg", quality=95)
    options = Options(size=64, drop_duplicates=dropped)
    found = images_domain.read(tmp_path, options, conditional=True)
    assert len(found) == (8 if dropped else 10) and sum(found.class_counts.values()) == len(found)
    assert any("2 images are left out" in note for note in found.notes) == dropped
    if dropped:
        assert not twins(found.samples)
        assert {Path(one.path).stem for one in found.originals} == {str(index) for index in range(8)}
        assert found.fingerprint != images_domain.read(tmp_path, Options(size=64), conditional=True).fingerprint
        alike = Options(size=64, drop_duplicates=True)
        assert found.fingerprint == images_domain.read(tmp_path, alike, conditional=True).fingerprint


def test_a_doctor_advises_to_leave_out_many_duplicates(tmp_path):
    for index, one in enumerate(drawings(40)):
        for copy in range(2 if index < 20 else 1):
            Image.fromarray(one).save(tmp_path / f"{index}-{copy}.png")
    found = examine(tmp_path, trial=0)
    assert "--set data.drop_duplicates=true" in found["command"]
    assert any(reason.startswith("Leave out the duplicates") for reason in found["reasons"])
