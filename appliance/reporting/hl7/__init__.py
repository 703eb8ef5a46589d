"""HL7 v2: writes ORU and order updates, sends them over MLLP, and receives radiologist reports."""
