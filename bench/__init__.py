"""Benchmarks: Doorward beside bare nginx and bare mitmproxy, in one run, on the same two cores.

Owns: starting the subjects pinned to a core, driving load, reading CPU time from /proc, the table in
`RESULTS.md` and the chart in `results.svg`. The figure that counts is CPU time per answered request of the
subject's own processes; rates are printed beside it. `python -m bench --help` says how to run a part.
"""
