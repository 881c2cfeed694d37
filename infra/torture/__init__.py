"""The torture harness: the real stack under load and faults, and the proof that nothing is lost and nothing twice."""
