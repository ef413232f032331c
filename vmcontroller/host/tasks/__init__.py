"""Calls that go on by themselves: begun, asked about, waited for, cancelled, forgotten."""
