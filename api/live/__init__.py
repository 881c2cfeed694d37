"""The live path: what has just happened, to whoever waits for it, once the read models show it.

Every replica reads ``incident-events`` without a consumer group (``tail``), holds each event until the serving
projections have passed it (``hold``, ``checkpoints``) and then fans it out (``fanout``); ``follow`` splices what is
stored with what is live, without a gap and without a repeat.
"""
