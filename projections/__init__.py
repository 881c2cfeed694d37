"""Read models in PostgreSQL, built from the record and safe to throw away."""
