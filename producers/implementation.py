"""Who wrote an object or asks for an association (PS3.7 section D.3.3.2, PS3.10 section 7.1)."""

from importlib.metadata import version
from typing import Final

from pydicom.uid import UID

IMPLEMENTATION_CLASS_UID: Final = UID("2.25.123899457431211465033590157007437478581")
IMPLEMENTATION_VERSION: Final = f"RADIOLOG_{version('radiolog')}"[:16]
