"""Which network addresses the hub may be led to by a name somebody typed: pure.

An address is judged by where it ends up, not by how it is spelled: what carries an IPv4 address inside (mapped,
compatible, NAT64, 6to4, Teredo) is judged by the one inside as well.
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Ways of tunnelling that nobody's server is reached by any more; some carry an IPv4 address in other bits.
_TUNNELS = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b:1::/48", "2001::/32", "2002::/16", "::/96", "fec0::/10")
)
_ISATAP = (0x00005EFE, 0x02005EFE)
# Shared by carriers (RFC 6598); private as far as anybody outside is concerned.
_CARRIER = ipaddress.IPv4Network("100.64.0.0/10")


def parsed(text: str) -> Address:
    """The address in `text` as a resolver spells it (`fe80::1%eth0` too). Raises ValueError for anything else."""
    return ipaddress.ip_address(text)


def why_refused(address: Address, *, allow_private: bool = False) -> str | None:
    """Why nothing is fetched from here, in words; None when it may be.

    `allow_private` lets addresses of one's own network and machine pass, but nothing that no server can have.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return why_refused(address.ipv4_mapped, allow_private=allow_private)
        if address in _NAT64:
            return why_refused(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), allow_private=allow_private)
        if address.scope_id is not None or address.is_link_local:
            return "it is an address of one cable only"
        if address.is_loopback:
            return None if allow_private else "it is this machine itself"
        if address.is_unspecified:
            return "it is no machine's address"
        if any(address in tunnel for tunnel in _TUNNELS) or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "it leads through a tunnel"
    if address.is_unspecified or address.is_multicast:
        return "it is no machine's address"
    if address.is_link_local:
        return "it is an address of one cable only"
    if address.is_loopback:
        return None if allow_private else "it is this machine itself"
    if address.is_private or (isinstance(address, ipaddress.IPv4Address) and address in _CARRIER):
        return None if allow_private and not _is_special(address) else "it belongs to a private network"
    if not address.is_global or address.is_reserved:
        return "it is reserved"
    return None


def _is_special(address: Address) -> bool:
    """Counted as private by the registry, yet nobody's own network: 0.0.0.0/8, 240.0.0.0/4, documentation."""
    own = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
    return not any(address in ipaddress.ip_network(text) for text in own if (":" in text) == (address.version == 6))
