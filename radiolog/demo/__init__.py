"""The whole path on real DICOM: a device, the log, the stages, the database, and a picture of each answer."""
