"""The DICOM objects that Osteon makes: SC, study summary, SR, GSPS and KO."""
