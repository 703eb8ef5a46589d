"""The DICOM service class user: sends objects to archives, queries them and asks for storage commitment."""
