"""Torture: the real stack and all processes under load, killed at every step, and what must hold afterwards."""
