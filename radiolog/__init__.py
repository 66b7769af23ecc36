"""Medical image analysis as an event stream, on the hospital's own machines."""

from importlib.metadata import version

__version__ = version("radiolog")
