"""Tests of the archive, of verification and of restoring."""
