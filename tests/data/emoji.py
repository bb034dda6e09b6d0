"""Colour emoji from an installed font, as a realistic folder of images for tests and experiments.

Needs `fonttools` and the Debian package `fonts-noto-color-emoji`. The font keeps one 136 x 128 PNG for every glyph.
"""

import io
from pathlib import Path

from PIL import Image

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")


def emoji_pngs(font: Path = FONT):
    """Yields (glyph name, PNG bytes), sorted by the glyph's name, of every colour image in the font's CBDT table."""
    from fontTools.ttLib import TTFont

    with TTFont(font) as opened:
        images = {}
        for strike in opened["CBDT"].strikeData:
            for name, glyph in strike.items():
                if hasattr(glyph, "imageData"):
                    images[name] = bytes(glyph.imageData)
    yield from sorted(images.items())


def emoji_characters(font: Path = FONT) -> dict[str, list[int]]:
    """The characters of which each glyph is drawn, 0 for those that are glyphs of their own."""
    from fontTools.ttLib import TTFont

    with TTFont(font) as opened:
        characters = {glyph: code for code, glyph in opened.getBestCmap().items()}
        sequences = {name: (name,) for name, _ in emoji_pngs(font)}
        for lookup in opened["GSUB"].table.LookupList.Lookup:
            for table in (getattr(table, "ExtSubTable", table) for table in lookup.SubTable):
                for first, ligatures in getattr(table, "ligatures", {}).items():
                    sequences |= {ligature.LigGlyph: (first, *ligature.Component) for ligature in ligatures}
    return {name: [characters.get(glyph, 0) for glyph in glyphs] for name, glyphs in sequences.items()}


def _toned(codes: list[int]) -> bool:
    return any(0x1F3FB <= code <= 0x1F3FF for code in codes)


def _group(codes: list[int]) -> str:
    """What characters show: flags, people (all with a skin tone are), faces, or things."""
    if 0x1F1E6 <= codes[0] <= 0x1F1FF or codes[0] in (0x1F3F3, 0x1F3F4):
        return "flags"
    if _toned(codes) or 0x1F466 <= codes[0] <= 0x1F486 or 0x1F9D1 <= codes[0] <= 0x1F9DF:
        return "people"
    faces = ((0x1F600, 0x1F64F), (0x1F910, 0x1F92F), (0x1F970, 0x1F97A))
    return "faces" if any(first <= codes[0] <= last for first, last in faces) else "things"


def _square(image: Image.Image, size: int | None) -> Image.Image:
    """`image` (RGBA) centred on a transparent square, brought to `size` pixels a side with its aspect kept."""
    side = max(image.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    if size is None or size == side:
        return square
    # "RGBa" is Pillow's premultiplied mode: the colour of transparent pixels must not bleed into the outline.
    return square.convert("RGBa").resize((size, size), Image.Resampling.LANCZOS).convert("RGBA")


def extract_emoji(
    folder: str | Path,
    size: int | None = 64,
    background: str | None = None,
    limit: int | None = None,
    grouped: bool = False,
    tones: bool = True,
) -> list[Path]:
    """Writes the emoji into `folder` as square PNGs named `0000_GLYPH.png`, `0001_GLYPH.png`, ...

    Args:
        folder: is made where it is missing.
        size: pixels a side; None keeps the font's own 136.
        background: a colour's name or #rrggbb onto which the images are composed; None keeps their transparency.
        limit: writes only so many, evenly taken over the whole font, with the names they have in the whole set.
        grouped: a folder each for flags, people, faces and things, as classes.
        tones: also those that differ from another in nothing but skin tone. A study that scores against emoji which
            were not trained on must leave them out.

    Returns:
        The paths, in the order of their names.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    characters = emoji_characters() if grouped or not tones else {}
    everything = enumerate(emoji_pngs())
    images = [(index, name, data) for index, (name, data) in everything if tones or not _toned(characters[name])]
    if limit is not None and limit < len(images):
        images = [images[i * len(images) // limit] for i in range(limit)]
    written = []
    for index, name, data in images:
        image = _square(Image.open(io.BytesIO(data)).convert("RGBA"), size)
        if background is not None:
            ground = Image.new("RGBA", image.size, background)
            ground.alpha_composite(image)
            image = ground.convert("RGB")
        path = folder / (_group(characters[name]) if grouped else "") / f"{index:04d}_{name}.png"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
        written.append(path)
    return written
