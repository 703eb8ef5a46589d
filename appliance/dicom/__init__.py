"""DICOM: the receiving side, the sending side, reading of instances and making of objects."""
