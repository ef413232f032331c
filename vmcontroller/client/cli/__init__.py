"""The command `vmcontroller`: the API for people, and for shell scripts."""
