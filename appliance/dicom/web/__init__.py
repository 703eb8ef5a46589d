"""DICOMweb as a user agent: STOW-RS to store objects, QIDO-RS to prove them and to recheck a study's patient."""
