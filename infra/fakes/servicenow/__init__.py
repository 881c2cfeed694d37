"""A ServiceNow to run beside the application: the Table API of incidents with the semantics that a sync runs into."""
