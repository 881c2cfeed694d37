"""Tests of the provider fakes."""
