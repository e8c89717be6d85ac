"""What every engine must do with the same bytes: requests as they come in, and what has to come of them.

Owns: the cases, as data, and the site that they speak of. Depends on: the core's values. Leaves to the
engines' own tests: sockets, a real upstream, timing. An engine whose parser answers by itself may word a
refusal otherwise; that it refuses, and what never reaches the upstream, is the same for all.
"""
