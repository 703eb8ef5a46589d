"""DICOM: receiving (`scp`), sending (`scu`), reading of instances (`reading`) and making of objects (`objects`)."""
