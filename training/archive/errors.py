"""What can be wrong with an archive."""


class ArchiveError(Exception):
    """An archive, or an image in one, that cannot be read as a labelled one."""
