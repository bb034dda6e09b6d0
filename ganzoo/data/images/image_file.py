"""A file that may be an image, in a folder or in a zip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class ImageFile:
    """A candidate: its path inside the data, how it is opened, and what changes when its content does.

    `open` may refuse what is no image by its first bytes; `raw` opens whatever the file holds (`open` unless given).
    """

    path: str
    open: Callable[[], BinaryIO]
    key: tuple = ()
    raw: Callable[[], BinaryIO] | None = None

    def content(self) -> BinaryIO:
        """The file opened for reading, image or not."""
        return (self.raw or self.open)()
