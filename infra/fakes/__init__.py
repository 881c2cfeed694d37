"""Runnable stand-ins for provider APIs; they count effects, not calls."""
