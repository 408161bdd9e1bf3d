"""A published table beside a run's rows."""
