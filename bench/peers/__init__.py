"""The same storm against what users run today, each with the database that it recommends, in the same run as ours.

One module for each peer, which says how it is installed (pinned), configured and asked; ``contract`` says what a peer
is, ``measure`` sends the storm, ``page`` writes ``bench/results/peers.md``.
"""
