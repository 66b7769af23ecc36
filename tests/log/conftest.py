"""Small events for the tests of the log."""

from tests.events import image

__all__ = ["image"]
