"""Provider connectors: one folder each, on the kit in connectors.kit."""
