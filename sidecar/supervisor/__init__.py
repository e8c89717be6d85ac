"""Running: one process, or a supervisor over several workers.

Owns: the assembly of a serving process, the admin listener, the supervisor with its workers and the
coordinator between them, signals and drain. Depends on: engines, config, effects, observe, core. Leaves to
others: what is decided (`core`), how bytes travel (`engines`), what a person types (`cli`).

One worker needs no supervisor: it serves, and has the admin listener itself. Several are started by a
supervisor that has the admin listener, adds their metrics up, restarts those that end and carries what
every worker must know.
"""
