"""The agent that runs inside a virtual machine."""
