"""The values of an element as text, whatever the sender put there."""

from pydicom import DataElement, Dataset


def texts(element: DataElement) -> list[str]:
    """The values of an element without padding; none of an empty element."""
    values = element.value if element.VM > 1 else [element.value]
    return [text for value in values if value is not None and (text := str(value).strip("\0 "))]


def texts_of(header: Dataset, keyword: str) -> list[str]:
    """The values of an element by its keyword; none where it is absent or cannot be read."""
    try:
        return texts(header[keyword]) if keyword in header else []
    except Exception:  # pydicom raises whatever a malformed value leads it to; such a value says nothing
        return []


def text_of(header: Dataset, keyword: str) -> str:
    """The first value of an element by its keyword, or ""."""
    return next(iter(texts_of(header, keyword)), "")
