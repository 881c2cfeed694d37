"""An incident.io to run beside the application: its API as far as the connector uses it, and its signed webhooks."""
