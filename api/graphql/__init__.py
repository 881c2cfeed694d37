"""GraphQL: queries, mutations and subscriptions over the parts that REST uses; ``schema.graphql`` is the golden SDL."""
