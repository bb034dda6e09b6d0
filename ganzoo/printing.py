"""Text from files, names and errors that is safe to print anywhere."""


def printable(text: object, longest: int | None = 200, keep: str = "") -> str:
    """Text for a terminal, a table or an image: nothing in it can move a cursor or turn the direction of writing.

    Control characters, line breaks and all else that `str.isprintable` rejects become escapes such as `\\n`; bytes
    that are no text become `\\udcff`.

    Args:
        text: an object is taken as its `str`.
        longest: a text of more characters is cut, and ends with "..."; None for no limit.
        keep: characters that stay, such as the line breaks of a text of several lines.
    """
    text = str(text)
    if not text.isprintable():
        text = "".join(
            one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii") for one in text
        )
    return text if longest is None or len(text) <= longest else text[: longest - 3] + "..."
