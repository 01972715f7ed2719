"""Browse: find, hear and hand over recordings in a web browser, by the bucket alone.

It reads what anybody may who can LIST and GET: the catalog, sidecars, media and manifests. No ledger, no provider.

Invariants. Only who was given the one-time link sees anything (`guard`). Bytes of a medium leave the server only with a
line in the log that says who asked for which recording, when (`playing`). Media pass through in pieces: none is ever
held whole. No page loads anything from elsewhere, and no text of a recording is interpreted as HTML.
"""
