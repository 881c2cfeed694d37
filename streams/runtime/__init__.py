"""The runtime: the one way to run an agent, its settings, logs and metrics."""
