"""What the values of pixels mean: bits, masks, floats, signs, kinds of TIFF and colour profiles."""

import errno
import io
import struct
import zlib

import numpy as np
import pytest
from bad_images import chunk, corner, encode
from PIL import Image, ImageCms

from ganzoo.data.images import ImageOptions, image_files, load_images
from ganzoo.data.images.colour import to_srgb
from ganzoo.data.images.pixels import FLOAT, SIXTEEN, scale_of
from ganzoo.errors import DataError

GREY, COLOUR = ImageOptions(4, channels=1), ImageOptions(4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png_16(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, grey (H, W), colour (H, W, 3) or with transparency (H, W, 4)."""
    height, width = values.shape[:2]
    kind = {2: 0, 3: 2}[values.ndim] if values.ndim == 2 or values.shape[2] == 3 else 6
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, **options) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


RAMP = np.arange(16).reshape(4, 4)


@pytest.mark.parametrize(("full", "bits"), [(1023, "10 bits"), (4095, "12 bits"), (16383, "14 bits"), (65535, None)])
def test_bits_in_files_of_16_bits_are_decided_over_all_files(tmp_path, full, bits):
    # One file is dark: alone it would have fewer bits; the set decides.
    dark, bright = RAMP, RAMP * full // 15
    folder = write(tmp_path / "grey", {"a.png": png_16(dark), "b.png": png_16(bright)})
    found = load_images(folder, GREY)
    np.testing.assert_array_equal(found.samples[1, ..., 0], np.rint(bright * 255 / full))
    np.testing.assert_array_equal(found.samples[0, ..., 0], np.rint(dark * 255 / full))
    assert any((bits or "0 to 65,535") in note for note in found.notes), found.notes
    colours = np.stack([bright, bright[::-1], dark], -1)
    folder = write(tmp_path / "colour", {"a.png": png_16(colours), "b.png": png_16(np.stack([bright] * 3, -1))})
    found = load_images(folder, COLOUR)
    exact = np.rint(colours * 255 / full) if bits else colours >> 8  # whole 16 bits keep their high byte
    np.testing.assert_array_equal(found.samples[0], exact)


def test_transparency_of_fewer_than_16_bits(tmp_path):
    values = np.full((4, 4, 4), 2000)
    values[..., 3] = 4095
    values[:2, :, 3] = 0
    folder = write(tmp_path / "set", {"a.png": png_16(values)})
    found = load_images(folder, ImageOptions(4, background="white")).samples[0]
    assert (found[:2] == 255).all() and (found[2:] == round(2000 * 255 / 4095)).all()


def test_the_tags_of_a_tiff_come_first(tmp_path):
    dark = tiff(RAMP.astype(np.uint16), extratags=[(281, 3, 1, 4095, True)])
    folder = write(tmp_path / "tagged", {"a.tif": dark})
    np.testing.assert_array_equal(load_images(folder, GREY).samples[0, ..., 0], np.rint(RAMP * 255 / 4095))
    white_is_zero = tiff((RAMP * 4369).astype(np.uint16), photometric="miniswhite")
    folder = write(tmp_path / "inverted", {"a.tif": white_is_zero})
    np.testing.assert_array_equal(load_images(folder, GREY).samples[0, ..., 0], 255 - RAMP * 17)


def test_masks_of_0_and_1(tmp_path):
    mask = (RAMP % 2).astype(np.uint8)
    folder = write(tmp_path / "masks", {f"{i}.png": encode(Image.fromarray(mask), "PNG") for i in range(3)})
    found = load_images(folder, GREY)
    assert set(np.unique(found.samples)) == {0, 255} and (found.samples[0, ..., 0] == mask * 255).all()
    assert any("masks (1 becomes 255)" in note for note in found.notes)
    # One photograph among them, and the values are of 8 bits.
    write(folder, {"photo.png": encode(corner((4, 4)), "PNG")})
    found = load_images(folder, GREY)
    assert found.samples[0].max() == 1 and not any("masks" in note for note in found.notes)
    black = write(tmp_path / "black", {"a.png": encode(Image.new("L", (4, 4)), "PNG")})
    assert load_images(black, GREY).samples.max() == 0


def test_floats_are_decided_over_all_files(tmp_path):
    files = {
        name: encode(Image.fromarray((RAMP * factor).astype(np.float32)), "TIFF") for name, factor in FLOATS.items()
    }
    found = load_images(write(tmp_path / "set", files), GREY)
    assert found.samples[0].max() == 1 and found.samples[1].max() == 255  # not 255 and 255
    assert "2 floating-point images: the values are read as 0 to 255 (the greatest is 255)" in found.notes
    (tmp_path / "set" / "b.tif").unlink()
    assert load_images(tmp_path / "set", GREY).samples[0].max() == 255
    assert (scale_of(FLOAT, 1.0005), scale_of(FLOAT, 1.1), scale_of(SIXTEEN, 300)) == (1, 255, 1023)


FLOATS = {"a.tif": 1 / 15, "b.tif": 17.0}


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        (np.int8, {}, "1 x signed 8 bits"),
        (np.uint32, {}, "1 x 32 bits"),
        (np.int16, {"compression": "zlib", "byteorder": ">"}, "signed 16 bits, big-endian"),
        (np.float64, {}, "floating-point 64 bits"),
        (np.float32, {"planes": 3}, "3 x floating-point 32 bits"),
        (np.uint16, {"planes": 3, "planarconfig": "separate"}, "3 x 16 bits, one plane for each channel"),
    ],
)
def test_unsupported_kinds_are_named_and_not_called_corrupt(tmp_path, kind, options, reason):
    planes = options.pop("planes", 1)
    values = np.full((4, 4) if planes == 1 else (planes, 4, 4), 100, kind)
    values = values if planes == 1 or options else np.moveaxis(values, 0, -1)
    data = tiff(values, photometric="rgb" if planes == 3 else "minisblack", **options)
    folder = write(tmp_path / "set", {"a.tif": data, "good.png": encode(corner((4, 4)), "PNG")})
    found = load_images(folder, COLOUR)
    assert len(found) == 1 and found.problems[0].reason.startswith("an unsupported kind of TIFF (")
    assert reason in found.problems[0].reason and "corrupt" not in found.problems[0].reason


def test_planes_of_8_bits_and_signed_values_without_a_sign_are_read(tmp_path):
    colours = np.stack([RAMP * 17, RAMP[::-1] * 17, RAMP * 0]).astype(np.uint8)
    signed = (RAMP * 2184).astype(np.int16)
    files = {
        "planes.tif": tiff(colours, photometric="rgb", planarconfig="separate"),
        "signed.tif": tiff(signed),
        "negative.tif": tiff(-signed),
    }
    found = load_images(write(tmp_path / "set", files), COLOUR)
    assert [problem.path for problem in found.problems] == ["negative.tif"]
    assert "grey values from -32760 to 0" in found.problems[0].reason
    np.testing.assert_array_equal(found.samples[0], np.moveaxis(colours, 0, -1))
    np.testing.assert_array_equal(found.samples[1][..., 0], np.rint(signed * np.float32(255 / 32767)))


def wide_profile() -> bytes:
    """sRGB's profile with the light of red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    tags = {bytes(profile[p : p + 4]): p for p in range(132, 132 + 12 * count, 12)}
    red, green = (bytes(profile[tags[name] + 4 : tags[name] + 12]) for name in (b"rXYZ", b"gXYZ"))
    profile[tags[b"rXYZ"] + 4 : tags[b"rXYZ"] + 12] = green
    profile[tags[b"gXYZ"] + 4 : tags[b"gXYZ"] + 12] = red  # red and green light change places
    return bytes(profile)


def test_colour_profiles_are_converted_to_srgb(tmp_path):
    square = corner((4, 4), colour=(200, 40, 10))
    exact = np.asarray(square)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = square.convert("RGBA")
    files = {
        "a_wide.png": encode(square, "PNG", icc_profile=wide_profile()),
        "b_srgb.png": encode(square, "PNG", icc_profile=srgb),
        "c_broken.png": encode(square, "PNG", icc_profile=b"no profile at all"),
        "d_grey.png": encode(square.convert("L"), "PNG", icc_profile=wide_profile()),
        "e_alpha.png": encode(alpha, "PNG", icc_profile=wide_profile()),
    }
    found = load_images(write(tmp_path / "set", files), COLOUR)
    assert np.abs(found.samples[0][0, 0].astype(int) - (40, 200, 10)).max() <= 2  # red light was green light's
    np.testing.assert_array_equal(found.samples[1], exact)
    np.testing.assert_array_equal(found.samples[2], exact)
    np.testing.assert_array_equal(found.samples[3][..., 0], np.asarray(square.convert("L")))
    np.testing.assert_array_equal(found.samples[4], found.samples[0])
    assert any(note.startswith("2 images converted to sRGB from the colour profile") for note in found.notes)
    assert to_srgb(square, None) == (square, "")


def wide_gamut_profile(colourants: dict[bytes, tuple[float, float, float]]) -> bytes:
    """sRGB's profile with other colourants (XYZ under D50)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for place in range(132, 132 + 12 * struct.unpack(">I", profile[128:132])[0], 12):
        name, offset = bytes(profile[place : place + 4]), struct.unpack(">I", profile[place + 4 : place + 8])[0]
        if name in colourants:
            values = [round(65536 * value) for value in colourants[name]]
            profile[offset + 8 : offset + 20] = struct.pack(">3i", *values)
    return bytes(profile)


GAMUTS = {
    "Display P3": {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    },
    "Adobe RGB": {
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    },
}


@pytest.mark.parametrize("name", GAMUTS)
def test_the_colours_of_wide_gamuts_come_back(tmp_path, name):
    steps = np.linspace(20, 235, 4)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(8, 8, 3).round().astype(np.uint8)
    profile = wide_gamut_profile(GAMUTS[name])
    opened, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(Image.fromarray(colours), srgb, opened)
    raw = np.abs(np.asarray(image, int) - colours)
    folder = write(tmp_path / "set", {"a.png": encode(image, "PNG", icc_profile=profile)})
    found = np.abs(load_images(folder, ImageOptions(8)).samples[0].astype(int) - colours)
    assert raw.mean() > 6 and found.mean() < 0.7 and found.max() <= 4, (raw.mean(), found.mean(), found.max())


def test_a_passing_failure_is_tried_again_and_never_cached(tmp_path, cache, monkeypatch):
    folder = write(tmp_path / "set", {f"{i}.png": encode(corner((4, 4)), "PNG") for i in range(3)})
    (folder / "bad.png").write_bytes(b"")
    original, fails = image_files.decode_image, {"1.png": MemoryError(), "2.png": OSError(errno.EIO, "I/O error")}

    def fail(file, path, *rest):
        if path in fails:
            raise fails[path]
        return original(file, path, *rest)

    monkeypatch.setattr(image_files, "decode_image", fail)
    found = load_images(folder, COLOUR)
    assert len(found) == 1 and len(found.problems) == 3
    assert any("may be readable at the next start" in note for note in found.notes)
    assert list((cache / "data").iterdir()) == []  # neither the reasons nor the pixels
    fails.clear()
    found = load_images(folder, COLOUR)
    assert len(found) == 3 and [problem.path for problem in found.problems] == ["bad.png"]
    assert len(list((cache / "data").iterdir())) == 2
    attempts = []

    def fail_once(file, path, *rest):
        attempts.append(path)
        if attempts.count(path) == 1:
            raise MemoryError
        return original(file, path, *rest)

    monkeypatch.setattr(image_files, "decode_image", fail_once)
    write(folder, {"4.png": encode(corner((4, 4)), "PNG")})
    assert len(load_images(folder, COLOUR)) == 4 and len(attempts) == 10  # a second attempt of each, at once


def test_a_disk_error_inside_a_file_is_passing(tmp_path):
    class Failing(io.BytesIO):
        def read(self, count=-1):
            if self.tell() >= 1024:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(min(count, 1024) if count > 0 else 1024)

    data = encode(Image.effect_noise((64, 64), 50), "PNG")
    result = image_files._try(image_files.ImageFile("a.png", lambda: Failing(data)), COLOUR)
    assert result == (("a.png", "could not be read (Input/output error)"), True)


@pytest.mark.parametrize(
    ("array", "expected", "note"),
    [
        (np.uint8([0, 1]), [0, 255], "masks"),
        (np.int64([0, 1]), [0, 255], "masks"),
        (np.array([False, True]), [0, 255], "true and false"),
        (np.uint16([0, 1023]), [0, 255], "10 bits"),
        (np.uint16([0, 4095]), [0, 255], "12 bits"),
        (np.uint16([0, 65535]), [0, 255], "16 bits"),
        (np.int32([0, 200]), [0, 200], "int32 values from 0 to 200 are read as 0 to 255"),
        (np.float32([0, 1]), [0, 255], "[0, 1]"),
        (np.float32([-1e-7, 1]), [0, 255], "[0, 1]"),
        (np.float32([-1, 1]), [0, 255], "[-1, 1]"),
        (np.float32([0, 254.6]), [0, 255], "[0, 255]"),
        (np.uint8([0, 255]), [0, 255], None),
    ],
)
def test_values_of_arrays(array, expected, note):
    found = load_images(array.reshape(1, 1, -1).repeat(2, axis=1), ImageOptions(2, channels=1))
    assert found.samples[0, 0, :, 0].tolist() == expected
    assert any(note in one for one in found.notes) if note else not found.notes, found.notes


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.uint8([0, 14]), r"`\(array \* 17\).astype"),
        (np.int64([0, 16]), r"\(array \* \(255 / 16\)\).*class numbers"),
        (np.int64([0, 4095]), r"12 bits: `\(array \* \(255 / 4095\)\)"),
        (np.int8([-128, 127]), "Add 128 first"),
        (np.float32([-0.1, 1]), r"Are they \[0, 1\] or \[-1, 1\]"),
        (np.float32([0, 1 / 255]), "divided by 255 twice"),
        (np.float32([-2.1, 2.6]), "Undo their normalisation"),
        (np.float32([0, np.inf]), "Replace what is not finite"),
        (np.float32([0, 4095]), "from 0.0 to 4095.0"),
    ],
)
def test_values_of_arrays_that_are_refused_with_the_fix(array, text):
    with pytest.raises(DataError, match=text):
        load_images(array.reshape(1, 1, -1).repeat(2, axis=1), ImageOptions(2, channels=1))
