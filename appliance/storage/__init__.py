"""The database and the spool: everything that must survive a power cut."""
