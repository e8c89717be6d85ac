"""TLS of the gRPC listener: the files of `tls`, read again when they change.

Which files can be used is the express engine's judgement: one that can't never replaces one that can.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from sidecar.engines.express.tls import ListenerContext

if TYPE_CHECKING:
    from sidecar.application import Observer
    from sidecar.core.runtime import ListenerTls

__all__ = ["build_credentials"]


def build_credentials(tls: ListenerTls, observer: Observer) -> grpc.ServerCredentials:
    """Return credentials that show the newest certificate in each handshake.

    Raises OSError or ssl.SSLError: the operator's files are missing or don't fit.
    """
    context = ListenerContext(tls, observer)
    seen = context.stamp

    def newest() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        context.reload()
        if context.stamp == seen:
            return None
        seen = context.stamp
        return _read(tls)

    return grpc.dynamic_ssl_server_credentials(
        _read(tls), newest, require_client_authentication=tls.client_ca_file is not None
    )


def _read(tls: ListenerTls) -> grpc.ServerCertificateConfiguration:
    authorities = None if tls.client_ca_file is None else Path(tls.client_ca_file).read_bytes()
    pair = (Path(tls.key_file).read_bytes(), Path(tls.certificate_file).read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)
