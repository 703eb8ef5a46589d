"""The DICOM service class provider: listens for associations and keeps the instances that it receives."""
