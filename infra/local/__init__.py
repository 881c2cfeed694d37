"""The local stack: Apache Kafka, PostgreSQL and an S3 server without Docker."""
