"""Makes the DICOM objects that Osteon sends: SC, study summary, SR, GSPS and KO."""
