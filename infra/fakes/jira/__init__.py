"""A Jira to run beside the application: issues of REST API v3 with the semantics that a sync runs into."""
