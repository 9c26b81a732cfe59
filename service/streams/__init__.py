"""Streams of pictures over a WebSocket: the server's side of docs/stream-protocol.md.

From the wire inwards:

- `socket` is the WebSocket as uvicorn serves it. `service.api.stream` asks `origins` whether the page may come,
  accepts, and runs a `Stream`.
- `stream` takes its place in the `registry` (how many there may be; how all end when the service stops), reads the
  hello (`reading`), answers it, and runs an `Exchange` until something ends it.
- `exchange` is two tasks. One receives, and puts pictures and changes of options into the `inbox`, which keeps only the
  newest picture and holds the client to its credits. The other takes from there, when the `pace` and the registry's
  turns allow it, and is the only one that sends results. A third task, of `stream`, waits for the order to end;
  `tasks` sees to it that all of them end together.
- `looking` finds the people of a picture: by the pipeline that all requests share, then, on a worker thread and one
  picture at a time, by `following` for ids and smoothing. `yaop stream` uses that without a service, too.
- `connection` sends and receives within the times allowed. What goes wrong is raised as an `ending`, and becomes the
  last message and a code of `closing`. `record` counts for the metrics and the log.

`messages` and `header` are what both sides say, and all that clients need. Everything runs in the event loop's thread
but what `looking` gives to workers; a stream owns all of its parts, and shares only what `service.runtime` has.
"""
