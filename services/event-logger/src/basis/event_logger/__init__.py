"""The sink: JetStream to ``logs/<correlation_id>/<pid>/``, every event exactly once, sealed at the end."""
