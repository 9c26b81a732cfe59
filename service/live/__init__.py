"""``yaop stream``: live pictures from a source to results, a log and figures on the terminal.

`service.stream_cli` chooses the parts, and `run.watch` runs them:

    source ──> Capture (slot) ──> looker ──> recorder, figures ──> display

- Sources (`camera`, `clip`, `network`; what they have in common is in `source`) give pictures at their own speed. Clips
  and network cameras are decoded in a child process (`clip_child`, `network_child`, begun by `children`), at the speed
  that `pacing` tells; nothing that a file or an address sends reaches a decoder in this process.
- `source.Capture` owns the thread ``yaop-capture``, which puts each picture into a `slot`, in place of one that nobody
  took. So the newest picture is always next, and a slow looker drops pictures rather than lagging.
- Lookers (`seen.Looker`) give results in the main thread. `local` runs the engine there. `remote` owns the thread
  ``yaop-send`` of each connection, which takes from the slot, makes JPEGs (`scaling`) and keeps as many under way as
  `lead` finds worth it; the main thread receives. When the stream breaks it opens another.
- The main thread alone writes: `recorder` the log, `display` what `figures` counts. Notes of other threads go through
  `display`, which is safe for that.
- `stopping.Stop` is asked by all of them whether to go on: after a signal, or the time of ``--seconds``.
"""
