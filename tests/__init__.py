"""Tests. No property may depend on how fast the machine is: hypothesis has no deadline here."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "vmcontroller", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("vmcontroller")
