"""The embedded STOMP broker: MorbidQ's destinations, our own code."""
