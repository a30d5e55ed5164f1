"""Order events of a web shop."""
