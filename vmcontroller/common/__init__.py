"""What the host daemon and the guest agent share; knows neither of them."""
