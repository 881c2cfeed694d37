"""The checks of `incidents doctor`: each looks at one thing and says what it means and what to do."""
