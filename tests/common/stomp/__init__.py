"""Tests of vmcontroller.common.stomp."""
