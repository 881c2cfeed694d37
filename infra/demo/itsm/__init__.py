"""The demonstration of ticket sync: two ticket systems, a conflict of each policy, and what it comes to."""
