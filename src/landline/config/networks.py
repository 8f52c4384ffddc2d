"""Networks: whose word counts, as addresses with their prefix."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from landline.config.values import UnfitValue

Network = IPv4Network | IPv6Network


def parse_network(text: str) -> Network:
    """Return a network; an address alone is a network of one. Raises: UnfitValue."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UnfitValue(
            "is not a list of networks", "give addresses, e.g. 10.0.0.0/8,127.0.0.1,::1"
        ) from None
    raise UnfitValue("has an address with more than its network in it", f"give {network}")
