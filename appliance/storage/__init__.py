"""What must survive a power cut: the database and the spool."""
