"""`samclip serve`: a model behind an HTTP port. The front process speaks HTTP and runs no model.

    app, door, calls, schema, openapi   HTTP: routes, who may enter, what a request holds
    pool, slot, frames                  jobs on their way to worker processes and back
    worker, answering, answers          in a worker: a model, and what it says

It needs the extra `serve`. Nothing here takes the name of a file from a request.
"""
