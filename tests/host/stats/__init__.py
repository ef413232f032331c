"""Tests of vmcontroller.host.stats."""
