"""Commands in this guest: run once each, watched over, and delivered to the host."""
