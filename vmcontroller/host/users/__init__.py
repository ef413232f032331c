"""The users of the API: their passwords, tokens and roles. Not how they call."""
