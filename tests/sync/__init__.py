"""The proof that both sides of a ticket converge: a model of the provider, the real engine, any interleaving."""
