"""The incidents command: one file a command."""
