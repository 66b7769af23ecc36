"""Why an object is refused for good: sending the same bytes again will not help.

Refused
├── BrokenObject            the bytes are no complete DICOM object
│   ├── WrongSopClass       they are one, but not of the SOP class that the sender announced
│   └── UnwrappablePicture  they are a picture at which the decoder hangs or dies
├── Incomplete              what belongs to it is not there: it may still come
└── TooLarge                the object exceeds what is taken at all

Failures of the log and of the object store are `radiolog.log.errors.LogError` and pass through: the sender keeps its
copy and tries again.
Messages never hold a value of the object, only tags, sizes and what is wrong.
"""


class Refused(Exception):
    """The root; the message is written for the person at the sending device."""


class BrokenObject(Refused):
    """The bytes are no complete DICOM object."""


class WrongSopClass(BrokenObject):
    """The object is not of the SOP class that the sender announced."""


class UnwrappablePicture(BrokenObject):
    """The decoder hangs at the picture, or dies: to try once more would cost the same."""


class Incomplete(Refused):
    """Something that belongs to the object is not there: the sidecar of a picture, a file that a DICOMDIR names."""


class TooLarge(Refused):
    """The object exceeds what is taken at all."""
