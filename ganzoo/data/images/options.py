"""How images are brought to one size and one number of channels."""

from dataclasses import dataclass

from ganzoo.errors import DataError, unknown_name

FITS = ("crop", "pad")
SPLITS = ("train", "val", "test", "all")


def parse_background(background: str) -> tuple[int, int, int]:
    """Red, green and blue (0..255) of a colour's name or of `#rrggbb`.

    Raises:
        DataError: it is neither.
    """
    from PIL import ImageColor

    try:
        colour = ImageColor.getrgb(background)
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"The background must be a colour's name ('white', 'black', 'grey') or '#rrggbb'. Received: {background!r}."
            + (" In YAML, a colour that starts with # needs quotes." if background is None else "")
        ) from error
    if len(colour) != 3:
        raise DataError(f"The background must be opaque: '#rrggbb', without alpha. Received: {background!r}.")
    return colour


@dataclass(frozen=True)
class ImageOptions:
    """The form in which every image is wanted.

    Attributes:
        size: pixels a side of the square result.
        channels: 1 (grey, by the luma weights 0.299, 0.587, 0.114) or 3 (red, green, blue).
        fit: "crop" cuts the middle square out of an oblong image, "pad" puts the whole of it on the background.
        background: a colour's name or #rrggbb; transparency is composed onto it, padding is filled with it.
        labelled: whether classes are wanted: label files and class folders are read (see `ganzoo.data.images.layout`),
            and labels that the data bring are kept. Otherwise all images are one set.
        split: which part is read of data that have several ("train", "val", "test"), or "all" of them together.
    """

    size: int = 64
    channels: int = 3
    fit: str = "crop"
    background: str = "white"
    labelled: bool = False
    split: str = "train"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 1 <= self.size <= 4096:
            raise DataError(f"size must be a whole number of pixels from 1 to 4096. Received: {self.size!r}.")
        if self.channels not in (1, 3):
            raise DataError(f"channels must be 1 (grey) or 3 (colour). Received: {self.channels!r}.")
        if self.fit not in FITS:
            raise DataError(unknown_name("fit", self.fit, FITS))
        if self.split not in SPLITS:
            raise DataError(unknown_name("split", self.split, SPLITS))
        parse_background(self.background)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of each image."""
        return self.size, self.size, self.channels

    @property
    def colour(self) -> tuple[int, int, int]:
        """The background's red, green and blue, 0..255."""
        return parse_background(self.background)
