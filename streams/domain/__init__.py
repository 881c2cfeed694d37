"""The core: every decision of the product as pure functions of the intake (R2).

Standard library only; no I/O, no clock, no randomness. Times are integers in milliseconds since the Unix epoch.
"""
