"""The check of a box's GPU that support asks a hospital for: ``python -m provisioning.gpu_selfcheck``.

Each step is a process with a time limit, so that a driver that crashes or hangs ends one step only. Every radiograph is
drawn: neither the steps nor the report know a patient, a host name or an address.
"""
