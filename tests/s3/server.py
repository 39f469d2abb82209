"""An S3 server for tests: moto, one request at a time, so that conditional writes are atomic.
usage: server.py PORT BUCKET"""

import sys
import threading
import urllib.request

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

WSGIRequestHandler.protocol_version = "HTTP/1.1"
WSGIRequestHandler.log = lambda *_: None


class OneAtATime:
    def __init__(self, application):
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            return [b"".join(self.application(environ, start_response))]


port, bucket = int(sys.argv[1]), sys.argv[2]
application = OneAtATime(DomainDispatcherApplication(create_backend_app))
server = make_server("127.0.0.1", port, application, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{bucket}", method="PUT")).read()
print("ready", flush=True)
sys.stdin.read()
