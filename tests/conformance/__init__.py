"""RFC 6455 by Autobahn's cases, over the real listener."""
