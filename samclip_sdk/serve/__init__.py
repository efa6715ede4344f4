"""`samclip serve`: a model behind an HTTP port. The front process speaks HTTP and runs no model.

    running, listening, settings       what starts and stops it, and what it may be told
    app, door, keys, hosts             HTTP: the routes, who may enter
    metrics, logs                      what is told of it
    house, calls, bodies, forms        what a request holds, its limits, its answer
    schema, openapi                    the names in both
    pool, slot, frames                 jobs on their way to worker processes and back
    worker, answering, answers         in a worker: a model, and what it says

It needs the extra `serve`. Nothing here takes the name of a file from a request.
"""
