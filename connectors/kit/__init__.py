"""What every connector stands on: contracts, HTTP, secrets, integrations, rate limits, outbox and dispatcher."""
