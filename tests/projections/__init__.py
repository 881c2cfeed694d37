"""Tests of the read models, on real PostgreSQL and Kafka."""
