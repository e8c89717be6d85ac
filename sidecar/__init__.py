"""Doorward: an authenticating reverse proxy that stands beside an application.

`core` decides (sans-I/O), `engines` translate and carry out, `effects` performs what a decision needs from
the outside, `config` compiles `doorward.yaml` into one immutable `Runtime`, `cli` is what a person types.
"""

__version__ = "0.1.0"
