"""HTTP as uvicorn does it, mended where a client that sends nothing could hold a connection open for ever.

`choice` makes the class that uvicorn's ``Config(http=...)`` takes: `over_httptools` where that parser is installed, and
`over_h11` elsewhere, as uvicorn itself would choose. Both know when a request's headers are due and tell `deadline`,
which closes connections that let it pass. Bodies may take as long as they do, and WebSockets have rules of their own
(`service.streams`).
"""
