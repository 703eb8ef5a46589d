"""The DICOM service class provider: accepts associations and keeps the instances that it receives."""
