"""Bytes to dataclasses and back: Avro data in CloudEvents on Kafka."""
