"""Tests of the ingest endpoints."""
