"""How readers reach the read models."""
