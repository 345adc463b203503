"""What operators see of a service that runs: metrics, logs and traces."""
