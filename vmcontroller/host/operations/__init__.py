"""The use cases: what the API offers, on the hypervisor's machines and on their guests."""
