"""Benchmarks: run by hand or by `make bench`, never part of pass and fail."""
