"""Who a guest is, and what it proves it with."""
