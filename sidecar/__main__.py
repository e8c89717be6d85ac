"""`python -m sidecar`: the same as `doorward`."""

from sidecar.cli import main

main()
