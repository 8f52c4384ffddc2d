"""HTTP beside the WebSocket: health, readiness, metrics, and the web client's files."""
