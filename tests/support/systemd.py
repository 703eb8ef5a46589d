"""Units of a container under systemd-nspawn that runs the script ``/out/script`` as its only work."""

RUNNER = """\
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/out/script
"""

TARGET = """\
[Unit]
Requires=basic.target runner.service
After=basic.target
AllowIsolate=yes
"""
