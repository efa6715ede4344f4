"""`samclip serve`: a model behind an HTTP port. The front process speaks HTTP and runs no model.

    server, uvicorn_server, settings         start and stop, logs; the model and the limits
    app, middleware, keys, hosts, metrics    the routes, and the steps that every request passes
    handlers, request_body, multipart_form   from a request to its answer, within the limits
    schema, openapi, errors                  the fields of requests and answers, HTTP errors
    pool, worker_process, wire               jobs on their way to worker processes and back
    worker, batching, encoding               in a worker: the model, and its results as JSON

It needs the extra `serve`. No request names a file on this machine.
"""
