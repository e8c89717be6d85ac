"""`python -m bench.plain_mitmproxy PORT UPSTREAM`: mitmproxy's reverse proxy with no addon but what proxies.

mitmdump has some thirty more (saving, printing, replacing, ...), and each is asked about each request. This
is what mitmproxy costs in our process too: what the gate adds is the difference.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile

from mitmproxy import options
from mitmproxy.addons import core, dns_resolver, next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master

__all__ = ["main"]


async def _serve(port: int, upstream: str, folder: str) -> None:
    master = Master(options.Options(confdir=folder))
    master.addons.add(
        core.Core(),
        proxyserver.Proxyserver(),
        dns_resolver.DnsResolver(),
        next_layer.NextLayer(),
        tlsconfig.TlsConfig(),
    )
    master.options.update(
        mode=[f"reverse:{upstream}"], listen_host="127.0.0.1", listen_port=port, keep_host_header=True
    )
    await master.run()


def main() -> None:
    """Serve until the process is ended."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], folder))


if __name__ == "__main__":
    main()
