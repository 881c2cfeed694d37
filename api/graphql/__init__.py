"""GraphQL: queries, mutations and subscriptions over the same parts as REST; ``schema.graphql`` is the committed SDL."""
