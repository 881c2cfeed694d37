"""A PagerDuty to run beside the application: its REST API with real error codes, and its webhooks' bodies."""
