"""HTTP, GraphQL and server-sent events: the edge that people and providers reach."""
