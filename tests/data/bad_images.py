"""A folder of bad and odd images, and what should come of each."""

import io
import os
import pickle
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int = 60_000) -> bytes:
    """A whole, valid 1-bit PNG of `side` x `side` px in a few hundred kilobytes; rows are packed one after another."""
    packer = zlib.compressobj(1)
    row = bytes(1 + (side + 7) // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encode(image: Image.Image, kind: str, **options) -> bytes:
    """An image file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(side: int = 64, seed: int = 0) -> Image.Image:
    """A colour image that compresses badly, so that a half of its file is a half of it."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def corner(size: tuple[int, int] = (64, 64), colour=RED, mode: str = "RGB") -> Image.Image:
    """Blue, with the top left quarter in `colour`."""
    image = Image.new("RGB", size, BLUE)
    image.paste(colour, (0, 0, size[0] // 2, size[1] // 2))
    return image.convert(mode)


def make_bad(folder: Path) -> dict[str, str]:
    """Writes what must be skipped; returns the expected reason (its beginning) of each, by relative path."""
    png, jpeg, gif = encode(noise(), "PNG"), encode(noise(), "JPEG"), encode(noise().quantize(), "GIF")
    webp, tiff = encode(noise(), "WEBP", lossless=True), encode(noise(), "TIFF")
    header = bytearray(png)
    header[29] ^= 0xFF  # the checksum of IHDR
    values = bytearray(png)
    values[len(png) // 2] ^= 0xFF  # in the packed pixels
    out_of_range = Image.fromarray(np.full((8, 8), 1000.0, np.float32))
    files = {
        "truncated.png": (png[: len(png) // 2], "truncated"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "truncated.gif": (gif[: len(gif) // 2], "truncated"),
        "truncated.webp": (webp[: len(webp) // 2], "truncated"),
        "truncated.tif": (tiff[: len(tiff) // 2], "truncated"),
        "only_header.png": (png[:20], "truncated"),
        "zero_bytes.png": (b"", "empty (0 bytes)"),
        "text.png": (b"This is not an image.\n" * 10, "not an image (text)"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "not an image (an HTML page"),
        "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image (an SVG drawing"),
        "bomb.png": (bomb(), "too many pixels, refused before decoding"),
        "wide.png": (png[:16] + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 1, 8, 2, 0, 0, 0))[8:], "t"),
        "header_checksum.png": (bytes(header), "truncated or corrupt"),
        "pixel_bits.png": (bytes(values), "corrupt"),
        "random.png": (np.random.default_rng(1).bytes(4096), "not an image (not one of PNG"),
        "signature.png": (png[:8] + bytes(100), "truncated or corrupt"),
        "pickle.npy": (pickle.dumps({"a": 1}), "not an image"),
        "annotations.json": (b'{"images": []}', "not an image (text)"),
        "floats.tif": (encode(out_of_range, "TIFF"), "floating-point grey values"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    expected = {name: reason for name, (_, reason) in files.items()}

    (folder / "self_link.png").symlink_to("self_link.png")
    expected["self_link.png"] = "a link that leads back to itself"
    (folder / "dangling.png").symlink_to("nowhere.png")
    expected["dangling.png"] = "a dangling link"
    (folder / "loop").symlink_to(".")
    expected["loop"] = "a link to a folder that is read already"
    (folder / "everything").symlink_to("/")
    expected["everything"] = "a link to a folder that holds these images"
    (folder / "to_device.png").symlink_to("/dev/zero")
    expected["to_device.png"] = "a device, never opened"
    os.mkfifo(folder / "pipe.png")
    expected["pipe.png"] = "a named pipe"
    (folder / "folder.png").mkdir()
    expected["folder.png"] = "a folder with the name of a file"
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(folder)  # a socket's path may have only a hundred characters
        listener.bind("socket.png")
        os.chdir(here)
    expected["socket.png"] = "a socket, never opened"
    (folder / "secret.png").write_bytes(png)
    (folder / "secret.png").chmod(0)
    if not os.access(folder / "secret.png", os.R_OK):  # root reads everything
        expected["secret.png"] = "no permission"

    # Passed over in silence.
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"\0")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._a.png").write_bytes(b"\0")
    return expected


def make_odd(folder: Path) -> set[str]:
    """Writes odd images that must be read; returns their names. Unless said otherwise: blue, red top left quarter."""
    folder.mkdir(parents=True, exist_ok=True)
    square, rotated = corner(), corner((64, 64)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees to be upright, as a phone held upright writes it
    bad_exif = b"Exif\0\0II*\0\xff\xff\xff\xff"
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # red hides in what is fully transparent
    clear.paste((0, 0, 0, 255), (32, 0, 64, 64))
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (32, 0, 64, 64))
    grey_16 = np.zeros((64, 64), np.uint16)
    grey_16[:, 32:] = 65535
    grey_16[:32, :32] = 128 * 257
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, GREEN, BLUE)]
    grey_alpha = Image.new("LA", (64, 64), (0, 0))
    grey_alpha.paste((0, 255), (32, 0, 64, 64))
    cmyk = Image.new("CMYK", (64, 64), (0, 255, 255, 0))  # red
    files = {
        "plain.png": encode(square, "PNG"),
        "plain.bmp": encode(square, "BMP"),
        "plain.tiff": encode(square, "TIFF", compression="tiff_lzw"),
        "plain.webp": encode(square, "WEBP", lossless=True),
        "plain.gif": encode(square, "GIF"),
        "plain.jpeg": encode(square, "JPEG", quality=98, subsampling=0),
        "png_named.jpg": encode(square, "PNG"),
        "no_extension": encode(square, "PNG"),
        "rotated.jpg": encode(rotated, "JPEG", exif=exif, quality=98, subsampling=0),
        "rotated.png": encode(rotated, "PNG", exif=exif),
        "rotated.tif": encode(rotated, "TIFF", exif=exif),
        "bad_exif.jpg": encode(square, "JPEG", exif=bad_exif, quality=98, subsampling=0),
        "large.jpg": encode(corner((1600, 1200)), "JPEG", quality=95),
        "alpha.png": encode(clear, "PNG"),
        "alpha_large.png": encode(clear.resize((512, 512), Image.Resampling.NEAREST), "PNG"),
        "palette.png": encode(palette, "PNG", transparency=0),
        "grey_16.png": encode(Image.fromarray(grey_16), "PNG"),
        "grey_alpha.png": encode(grey_alpha, "PNG"),
        "one_bit.png": encode(Image.new("1", (64, 64), 1), "PNG"),
        "cmyk.jpg": encode(cmyk, "JPEG", quality=98),
        "animated.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.webp": encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "animated.png": encode(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "one_pixel.png": encode(Image.new("RGB", (1, 1), RED), "PNG"),
        "line.png": encode(Image.new("RGB", (1, 5000), RED), "PNG"),
        "oblong.png": encode(corner((128, 64)), "PNG"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return set(files)
