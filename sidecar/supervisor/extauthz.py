"""Starting the listener at which Envoy asks by gRPC, where `forward_auth.grpc` configures one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ConfigurationError

if TYPE_CHECKING:
    from sidecar.application import Application
    from sidecar.core.runtime import Runtime
    from sidecar.engines.extauthz import ExtAuthzServer

__all__ = ["grpc_address", "require_extra", "serve_envoy", "tell_grpc"]

# What the extra brings. `envoy` alone is also the name under which PyPI has Envoy's program.
_PARTS: Final = {
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health.v1",
    "xds-protos": "envoy.service.auth.v3",
}


def grpc_address(runtime: Runtime) -> str | None:
    """Return where Envoy asks by gRPC, None when it does not."""
    return None if runtime.forward_auth is None else runtime.forward_auth.grpc


def tell_grpc(runtime: Runtime) -> dict[str, str]:
    """Return that address as the log tells it at the start."""
    listen = grpc_address(runtime)
    return {} if listen is None else {"grpc": listen}


def require_extra(runtime: Runtime) -> None:
    """See that what a configured listener needs is installed. Raises ConfigurationError with the mend."""
    if grpc_address(runtime) is None:
        return
    missing = [name for name, module in _PARTS.items() if not _is_here(module)]
    if missing:
        raise ConfigurationError(
            f"doorward: forward_auth.grpc needs {', '.join(missing)}, which the extra brings: "
            "pip install 'doorward[envoy]'; or remove the key, and have Envoy ask by HTTP"
        )


async def serve_envoy(application: Application, runtime: Runtime) -> ExtAuthzServer | None:
    """Serve `application` to Envoy, where that is configured. Raises OSError when the address can't be had.

    The path is that of any site: the one that is asked about is found by the host of the original request.
    """
    listen = grpc_address(runtime)
    if listen is None:
        return None
    from sidecar.engines import extauthz  # grpcio is of an extra, and takes 20 MiB

    return await extauthz.serve(
        application,
        listen,
        runtime.limits,
        f"{runtime.sites[0].prefix}/auth/envoy".encode("ascii"),
        tls=runtime.tls,
        reuse_port=runtime.workers > 1,
    )


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
