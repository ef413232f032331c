"""Tests of vmcontroller.host.broker."""
