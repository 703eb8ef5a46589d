"""The four roles: receive, analyse, deliver and status."""
