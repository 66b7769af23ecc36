"""Whatever puts facts on the log: DICOM devices, folders, files."""
