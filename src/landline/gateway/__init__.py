"""The WebSocket edge over the heart: sockets, deadlines, and the ports that the heart asks for."""
