"""What happens on this host, as a numbered log that callers can wait on and monitors can hear."""
