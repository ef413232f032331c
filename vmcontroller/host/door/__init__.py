"""The door of the daemon: where programs call, and how they prove who they are."""
