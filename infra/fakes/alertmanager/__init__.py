"""What Prometheus Alertmanager sends."""
