"""Tests of the connectors and of the dispatcher."""
