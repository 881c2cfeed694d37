"""The demo: a storm of real-shaped provider deliveries through the real webhooks, and what came out of it."""
