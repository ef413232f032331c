"""VMController: virtual machines of one host, and the work inside them, over XML-RPC."""
